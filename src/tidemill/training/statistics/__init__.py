"""Statistics of evaluation: bootstrap intervals and permutation tests."""
