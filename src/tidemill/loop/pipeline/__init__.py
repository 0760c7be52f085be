"""The pipeline: the plan, the run, and held increments."""
