"""Learning again what was learned: what is kept for it, the environment made anew, and how equal it came out."""
