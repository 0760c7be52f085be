"""Reproduction of what was learned, in the same or a fresh environment."""
