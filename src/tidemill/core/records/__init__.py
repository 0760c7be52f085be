"""Records that pass between components: plain, frozen structs that read and write JSON."""
