"""Going live: the one place where a release becomes the champion, or a rollback replaces it."""
