"""What a plan needs to know of each data set: its SPEC or SPECS. Every module is found by itself; see `registry`."""
