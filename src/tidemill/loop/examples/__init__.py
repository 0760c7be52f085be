"""Training examples: interactions, tabular examples and pinned datasets."""
