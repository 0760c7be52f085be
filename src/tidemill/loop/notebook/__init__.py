"""The project in a notebook: data, experiments, comparisons and plots."""
