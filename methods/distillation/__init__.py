"""Students that need one or a few evaluations: one method, one file."""
