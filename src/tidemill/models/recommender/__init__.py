"""The recommender that answers: items, parts, histories, rankers, and its files."""
