"""Every value of results.csv is in exactly one cell of exactly one table."""

import itertools
import random
from collections import Counter

import pytest

from fewstep.reports import leaderboard
from fewstep.reports.merge import ConflictError
from fewstep.reports.naming import number
from fewstep.reports.quality import grids, table

AXES = {
    "dataset": ["digits", "cifar10"],
    "teacher": ["small", "large"],
    "method": ["euler", "bespoke", "sim"],
    "variant": ["", "order=2", "grid=karras-7 zero"],
    "budget": ["0", "100 evaluations", "9000 evaluations"],
    "seed": [0, 1, 2],
    "nfe": [1, 4, 10],
    "metric": ["fd_digits", "recall", "unheard_of"],
}


def random_rows(rng, row):
    """Rows of random cells, each with its own value; an entry has one protocol for each metric, some rows no value."""
    axes = [rng.sample(values, rng.randint(1, len(values))) for values in AXES.values()]
    keys = [dict(zip(AXES, key, strict=True)) for key in itertools.product(*axes)]
    protocols = {}
    rows = []
    for key in rng.sample(keys, rng.randint(1, len(keys))):
        entry = tuple(value for name, value in key.items() if name != "seed")
        protocol = protocols.setdefault(entry, rng.choice(["", "p", "q"]))
        value = rng.random() if rng.random() < 0.9 else None
        cell = "/".join(str(value) for name, value in key.items() if name != "metric")
        status = "done" if value is not None else "failed: diverged"
        rows.append(row(**key, value=value, protocol=protocol, cell=cell, status=status))
    return rows


def key_of(row, *ignored):
    return tuple(value for name, value in row.items() if name in AXES and name not in ignored)


def shown(board):
    """How often each value is in a cell, and that this cell of the table that is printed is not empty."""
    found = Counter()
    for grid in grids(board, board.metrics):
        printed = table(board, grid)
        assert len(printed.rows) == len(grid.lines)
        for line, cells in zip(grid.lines.values(), printed.rows, strict=True):
            # Of a single NFE the ranks come behind.
            for entry, cell in zip(line, cells[printed.left :][: len(line)], strict=True):
                own = list(entry.values.get(grid.metric, {}).values()) if entry else []
                found.update(own)
                if own:
                    assert cell.text == number(sum(own) / len(own))
    return found


def measured(rows):
    return Counter(float(row["value"]) for row in rows if row["value"])


@pytest.mark.parametrize("seed", range(12))
def test_of_one_folder(run_folder, row, seed):
    rows = random_rows(random.Random(seed), row)
    folder = run_folder("run", rows)
    for options in ({}, {"by_run": True}, {"labels": ["mine"]}):
        assert shown(leaderboard.read(folder, **options)) == measured(rows)


@pytest.mark.parametrize("seed", range(12))
def test_of_several_folders_that_share_rows(run_folder, row, seed):
    """A row may be in several folders, with its value or without."""
    rng = random.Random(seed)
    rows = random_rows(rng, row)
    parts = [rng.sample(rows, rng.randint(1, len(rows))) for _ in range(3)]
    folders = [
        run_folder(f"run-{i}", [r if rng.random() < 0.9 else {**r, "value": "", "status": "stale"} for r in part])
        for i, part in enumerate(parts)
    ]
    kept = [r for i, part in enumerate(parts) for r in part]
    results = [leaderboard.read(folder) for folder in folders]
    assert sum(map(len, parts)) == len(kept)
    alone = [shown(board) for board in results]
    assert set(shown(leaderboard.read(*folders))) == set().union(*alone)
    assert max(shown(leaderboard.read(*folders)).values(), default=1) == 1
    assert shown(leaderboard.read(*folders, by_run=True)) == sum(alone, Counter())


@pytest.mark.parametrize("seed", range(12))
def test_of_folders_that_disagree_all_by_run_and_none_otherwise(run_folder, row, seed):
    rng = random.Random(seed)
    rows = random_rows(rng, row)
    other = [{**r, "value": repr(rng.random())} if r["value"] and rng.random() < 0.3 else r for r in rows]
    folders = [run_folder("one", rows), run_folder("two", other)]
    assert shown(leaderboard.read(*folders, by_run=True)) == measured(rows) + measured(other)
    if rows != other:
        with pytest.raises(ConflictError):
            leaderboard.read(*folders)


@pytest.mark.parametrize("seed", range(6))
def test_of_folders_by_other_protocols_all_by_run_and_none_otherwise(run_folder, row, seed):
    rng = random.Random(seed)
    rows = [r for r in random_rows(rng, row) if r["value"]] or [row("a", 0, 0.5)]
    other = [{**r, "protocol": "another"} for r in rows]
    for r in rows:
        r["protocol"] = r["protocol"] or "p"
    folders = [run_folder("one", rows), run_folder("two", other)]
    assert shown(leaderboard.read(*folders, by_run=True)) == measured(rows) + measured(other)
    with pytest.raises(ConflictError, match="protocols"):
        leaderboard.read(*folders)
