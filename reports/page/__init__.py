"""The report: one HTML page about run folders, complete without its script, which asks for nothing over a network."""
