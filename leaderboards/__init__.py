"""What was measured, and what papers print."""
