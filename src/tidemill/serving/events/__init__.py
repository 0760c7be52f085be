"""Posted events and outcomes: validation at the door and durable acknowledgement."""
