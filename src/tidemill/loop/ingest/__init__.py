"""Ingestion: arrived rows, split by day, and each increment up to its publication."""
