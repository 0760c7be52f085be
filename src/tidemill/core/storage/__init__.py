"""Durable files on one machine: atomic writes, append-only segments, group commit, failpoints."""
