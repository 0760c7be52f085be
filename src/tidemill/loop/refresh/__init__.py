"""Refresh of champions from incremental counts, without learning."""
