"""Real processes, ended at the worst moment."""
