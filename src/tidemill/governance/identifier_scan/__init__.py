"""A scan of every file of a project for personal identifiers, in any encoding and container."""
