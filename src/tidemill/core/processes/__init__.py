"""Child processes: a pool with a deadline, a job with JSON in and out, a start by name. All end with their parent."""
