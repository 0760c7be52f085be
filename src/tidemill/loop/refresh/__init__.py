"""Refresh of champions from incremental counts, without training."""
