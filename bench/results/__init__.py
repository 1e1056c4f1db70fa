"""What came out: rows of results.csv and its companions, the run folder, and the way back to artifacts. No torch."""
