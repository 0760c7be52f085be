"""Records that pass between rooms: plain, frozen structs that read and write JSON."""
