"""The demonstration: a shop with simulated clients."""
