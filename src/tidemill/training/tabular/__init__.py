"""How tabular models are learned and measured: splits, estimators, AutoML, assessment."""
