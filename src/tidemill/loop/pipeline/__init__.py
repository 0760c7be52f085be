"""The pipeline: the plan, the run, held increments, and the status."""
