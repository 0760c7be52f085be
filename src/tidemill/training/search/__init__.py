"""Search of settings: spaces, sampling, trials in processes, budgets."""
