"""The slate: retrieval, filtering, scoring and ordering of candidates, and custom rules."""
