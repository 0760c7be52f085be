"""LMDB: the newest row of each key, as a mapped snapshot and a file of fresh rows."""
