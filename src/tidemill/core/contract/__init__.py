"""Contracts of streams: columns, their kinds and the checks of single values."""
