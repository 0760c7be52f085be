"""Additive counts of items and pairs: made in one process or on an engine, and updated user by user."""
