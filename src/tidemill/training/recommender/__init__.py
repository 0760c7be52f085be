"""Training and evaluation of recommenders: splits, metrics, slices, exposure, warnings."""
