"""Tabular models of mill.py: how they are asked, their examples, and their way to a release."""
