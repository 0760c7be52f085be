"""A simulated shop as a source: a world whose truth is known, and the days that it produces."""
