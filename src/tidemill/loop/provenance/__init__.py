"""Provenance of a training: code, commit, environment and libraries."""
