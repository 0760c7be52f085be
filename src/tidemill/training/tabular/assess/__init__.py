"""Assessment of tabular models: metrics, calibration, slices, fairness, importance, leakage."""
