"""Processes of the server: supervisor, workers, hot swap, health."""
