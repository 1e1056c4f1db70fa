"""From results.csv to leaderboards, figures and the report. Reads results and published numbers, nothing else."""
