"""Rows to learn from: splits, folds, fingerprints, files, encodings."""
