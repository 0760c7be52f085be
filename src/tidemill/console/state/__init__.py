"""What the pages are made of: stores, the ledger projection, reports, action items."""
