"""What the user wrote: the schema of a suite file, its checks, and the suites that are shipped. No torch."""
