"""The mirror of runs in another tracking system."""
