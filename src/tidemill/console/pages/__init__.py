"""The pages of the console as data."""
