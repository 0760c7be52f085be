"""Drawings as geometry: plots, curves, histograms, diagrams."""
