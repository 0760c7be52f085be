"""State of a project as a person sees it: status, action items, what is served, folded from the ledger."""
