"""Simulated shop as a source: a model with known ground truth, and the days that it generates."""
