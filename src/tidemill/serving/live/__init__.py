"""Live state: the release that a worker follows, the kill switch, the clock and the prediction log."""
