"""The processes of the server as built from a project."""
