"""Mirroring of runs to another tracking system."""
