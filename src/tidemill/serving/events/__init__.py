"""Posted events and outcomes: validation on receipt and durable acknowledgement."""
