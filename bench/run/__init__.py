"""Who does it: the runner, its executors and their workers, and the display of progress."""
