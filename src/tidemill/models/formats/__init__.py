"""File formats of models: what is allowed in a bundle and how it is checked before it is opened."""
