"""Run folders made of a few rows."""

import pytest

from fewstep.bench.results.rows import BLOCK_COLUMNS, COLUMNS, to_csv
from fewstep.reports.run_folder import BLOCKS, METRICS, RESULTS, Metric, metrics_json

FACTS = {
    "fd_digits": Metric("FD (digits)", "a distance", False, 1000, True),
    "rmse": Metric("RMSE", "another", log_scale=True),
    "precision": Metric("precision", "a share", True, 1000, pair="recall"),
    "recall": Metric("recall", "a share", True, 1000, pair="precision"),
}


@pytest.fixture
def row():
    """(method, seed, value, other columns) -> a row of results.csv; without a value if it is None."""

    def make(method, seed, value, **changes):
        base = {
            "suite": "test", "dataset": "digits", "teacher": "small", "method": method, "budget": "0", "seed": seed,
            "nfe": 1, "metric": "fd_digits", "samples": 100, "status": "done",
            "value": "" if value is None else repr(value),
        }  # fmt: skip
        return dict.fromkeys(COLUMNS, "") | base | changes

    return make


@pytest.fixture
def run_folder(tmp_path):
    """(name, rows, blocks, facts of the metrics) -> the folder."""

    def make(name, rows, blocks=(), facts=FACTS):
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULTS).write_text(to_csv(rows))
        (folder / BLOCKS).write_text(to_csv(list(blocks), BLOCK_COLUMNS))
        if facts:
            (folder / METRICS).write_text(metrics_json(facts))
        return folder

    return make
