"""Data behind the pages: stores, ledger projection, reports and action items."""
