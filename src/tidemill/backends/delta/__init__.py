"""Delta Lake: versioned tables, their data files and their log."""
