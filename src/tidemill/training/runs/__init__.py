"""Runs: tracking, cost, comparison, and metrics per unit."""
