"""One file for each kind of teacher: its options and its SPEC. Every module here is found by itself; see `registry`."""
