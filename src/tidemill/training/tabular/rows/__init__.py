"""Rows to train on: splits, folds, fingerprints, files, encodings."""
