"""What is to be done: cells, the tasks that score them, and what names a task. No torch."""
