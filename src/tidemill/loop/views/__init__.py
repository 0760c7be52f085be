"""Feature views of mill.py: how they are made online, what is known of them, and whether training sees the same."""
