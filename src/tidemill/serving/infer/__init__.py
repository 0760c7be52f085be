"""Inference of tabular models: the Open Inference Protocol and MLflow invocations."""
