"""Training, evaluation and import of models as runs of the ledger."""
