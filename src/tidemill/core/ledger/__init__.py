"""The ledger: entries, their canonical bytes, the hash chain and exported checkpoints."""
