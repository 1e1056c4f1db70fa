"""The stages of a run, one module each: `run(task)` makes an artifact in task.folder and returns its
answer, a model of `plan.kinds`."""
