"""Tabular models as data: encoders, members and a weighted sum, answered without a DataFrame and without a pickle."""
