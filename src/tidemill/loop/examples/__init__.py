"""Examples to learn from: interactions, tabular examples and pinned datasets."""
