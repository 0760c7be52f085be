"""The server's processes, built from a project."""
