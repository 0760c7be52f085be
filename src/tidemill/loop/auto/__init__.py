"""From a file of rows to a project with a served model."""
