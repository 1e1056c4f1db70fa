"""Small runs in this process: tasks are done where they are submitted, and figures are not drawn."""

import csv

import pytest
import yaml
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.bench.run import local, worker
from fewstep.bench.store import Store
from fewstep.reports import run as reports

SUITE = {
    "name": "small",
    "datasets": "mixture-2d",
    "teachers": {"name": "exact"},
    "budgets": {"evaluations": 1000},
    "nfe": [2],
    "samples": 12,
    "truth": {"samples": 4},
    "metrics": "rmse",
    "device": "cpu",
    "methods": [{"name": "euler"}],
}
TIMING = ("train_seconds", "seconds_per_image")


class InProcess:
    """An executor with one place, which answers when it is asked."""

    def __init__(self, resources):
        self.store, self.running, self.has_room = Store(resources.root), [], True

    def submit(self, task):
        self.running.append(task)
        self.has_room = False

    def events(self, timeout):
        task = self.running.pop()
        self.has_room = True
        event, payload = worker.execute(task.to_json(), self.store)
        yield event, task.name, payload

    def close(self):
        pass


@pytest.fixture
def in_process(monkeypatch):
    run_in_process(monkeypatch)


def run_in_process(monkeypatch):
    monkeypatch.setattr(local, "LocalExecutor", InProcess)
    monkeypatch.setattr(reports.figures, "for_report", lambda board, folders: {"figure": "<svg></svg>"})


def write_suite(folder, **changes):
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return file


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def table(out):
    """The rows of results.csv without what depends on the clock."""
    with (out / "results.csv").open() as file:
        return [{key: value for key, value in row.items() if key not in TIMING} for row in csv.DictReader(file)]


def is_one_line(result):
    """Whether a command was refused as it should be: exit code 2 and one line of its own on stderr, no traceback."""
    said = [line for line in result.stderr.splitlines() if line.startswith("fewstep: ")]
    return result.exit_code == 2 and len(said) == 1 and isinstance(result.exception, SystemExit)
