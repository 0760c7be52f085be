"""AutoML for tables: a portfolio of members, cross-fitting and stacking."""
