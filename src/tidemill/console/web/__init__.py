"""Console application and process."""
