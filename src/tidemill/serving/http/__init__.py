"""HTTP of the API: messages, routes, access, errors and metrics."""
