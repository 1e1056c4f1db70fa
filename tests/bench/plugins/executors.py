"""Executors that do their tasks in this process, when they are asked for events."""

from fewstep.bench.run.worker import execute


class InProcess:
    """One task at a time, done while `events` waits."""

    def __init__(self, store):
        self.store, self.task = store, None

    @property
    def has_room(self):
        return self.task is None

    @property
    def running(self):
        return [] if self.task is None else [self.task]

    def submit(self, task):
        self.task = task

    def events(self, timeout):
        if self.task is None:
            return
        name, shares = self.task.name, []
        event, payload = execute(self.task.to_json(), self.store, shares.append)
        self.task = None
        yield from (("progress", name, share) for share in shares)
        yield event, name, payload

    def close(self):
        self.task = None


class LosesFailures(InProcess):
    """A task that fails is never answered."""

    def events(self, timeout):
        yield from (event for event in super().events(timeout) if event[0] != "failed")
