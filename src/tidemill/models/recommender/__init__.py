"""The recommender at serving time: items, parts, histories, rankers, and its files."""
