"""Ingestion: what has arrived, split by day, and each increment up to its publication."""
