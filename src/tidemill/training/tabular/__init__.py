"""Training and evaluation of tabular models: splits, estimators, AutoML, assessment."""
