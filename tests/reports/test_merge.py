"""Several folders read as one: what is alike is merged, and no row hides another."""

import shutil
from pathlib import Path

import pytest

from fewstep.bench.results import costs as bench_costs
from fewstep.bench.results.rows import to_csv
from fewstep.reports import leaderboard
from fewstep.reports.merge import ConflictError, merge
from fewstep.reports.run_folder import Metric
from fewstep.reports.status import Kind, Status

BOARDS = Path(leaderboard.__file__).parent.parent / "leaderboards"


def values(board, metric="fd_digits"):
    return {(*e.key.row, e.nfe): e.values.get(metric, {}) for e in board.entries}


def note(board, metric="fd_digits"):
    return leaderboard.render(board, "table", metric, width=1000)


def test_the_same_run_twice_is_the_same_board_once(tmp_path):
    copy = tmp_path / "mine"
    shutil.copytree(BOARDS / "quickstart", copy)
    one, two = leaderboard.read(BOARDS / "quickstart"), leaderboard.read(BOARDS / "quickstart", copy)
    assert [values(two, m) for m in two.metrics] == [values(one, m) for m in one.metrics]
    assert [e.ranks for e in two.entries] == [e.ranks for e in one.entries]
    assert two.costs.texts == one.costs.texts
    assert leaderboard.read(copy, copy / ".." / "mine", by_run=True).labels == ["mine"]


def test_another_value_of_one_key_is_refused_with_both_folders_the_row_and_both_values(tmp_path, run_folder, row):
    ours = run_folder("quickstart", [row("euler", 0, 114.84, cell="x"), row("heun", 0, 2.0, cell="z")])
    for cell in "xy":
        mine = run_folder("mine", [row("euler", 0, 200.0, cell=cell)])
        for folders, shown in (((ours, mine), "114.84 and 200.0"), ((mine, ours), "200.0 and 114.84")):
            names = " and ".join(folder.name for folder in folders)
            message = f"{names} both have euler NFE 1 seed 0 fd_digits, with {shown}; tell them apart with --label"
            with pytest.raises(ConflictError) as error:
                leaderboard.read(*folders)
            assert str(error.value) == message
            assert isinstance(error.value, ValueError)


def test_a_value_that_differs_in_its_last_digit_is_another(run_folder, row):
    one, two = run_folder("one", [row("a", 0, 0.3)]), run_folder("two", [row("a", 0, 0.1 + 0.2)])
    with pytest.raises(ConflictError, match=r"0\.3 and 0\.30000000000000004"):
        leaderboard.read(one, two)


def test_two_teachers_of_one_label_are_refused_with_the_file_and_both_values(run_folder, row):
    folder = run_folder("run", [row("euler", 0, 3.0, cell="x"), row("euler", 0, 7.5, cell="y")])
    message = (
        r"run/results\.csv has euler NFE 1 seed 0 fd_digits \(teacher small on digits\) 2 times, with 3\.0 and 7\.5"
    )
    with pytest.raises(ConflictError, match=message):
        leaderboard.read(folder)
    with pytest.raises(ConflictError, match=message):
        leaderboard.read(folder, by_run=True)


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.5, None), (None, None)])
def test_within_a_file_a_second_cell_of_one_key_is_refused_with_equal_values_too(run_folder, row, values):
    rows = [
        row("a", 0, v, cell=c, status="done" if v is not None else "failed") for v, c in zip(values, "xy", strict=True)
    ]
    with pytest.raises(ConflictError, match="of the cells x and y"):
        leaderboard.read(run_folder("run", rows))


def test_seeds_of_one_entry_are_pooled_and_the_note_says_whence(run_folder, row):
    ours = run_folder("ours", [row("a", s, 1.0 + s) for s in (0, 1)] + [row("b", s, 9.0 + s) for s in (0, 1)])
    mine = run_folder("mine", [row("a", s, 1.0 + s) for s in (1, 2, 3)] + [row("c", s, 4.0 + s) for s in (0, 1, 2)])
    board = leaderboard.read(ours, mine)
    assert values(board)["a", "", "0", 1] == {s: 1.0 + s for s in range(4)}
    assert "rows from ours (2 seeds), mine (3 seeds: c)" in note(board)
    assert "a, NFE 1: seeds 0 from ours, 1 from ours and mine, 2, 3 from mine" in note(board)
    frame = leaderboard.to_frame(board).set_index("method")
    assert frame["run"].to_dict() == {"a": "ours + mine", "b": "ours", "c": "mine"}


def test_rows_of_two_folders_are_named_by_the_folder(run_folder, row):
    ours = run_folder("ours", [row(m, s, 1.0) for m in "ab" for s in (0, 1)])
    mine = run_folder("mine", [row("c", s, 2.0 + s) for s in range(3)])
    assert "rows from ours (2 seeds), mine (3 seeds: c)" in note(leaderboard.read(ours, mine))
    assert "rows from" not in note(leaderboard.read(ours))


def test_a_row_is_named_in_full_where_its_method_is_in_both_folders(run_folder, row):
    ours = run_folder("ours", [row("a", 0, 1.0), row("b", 0, 1.0), row("b", 0, 2.0, budget="9 evaluations")])
    mine = run_folder("mine", [row("b", 0, 3.0, budget="99 evaluations", variant="order=2"), row("c", 0, 1.0)])
    board = leaderboard.read(ours, mine)
    assert "rows from ours (1 seed), mine (1 seed: b [order=2] (99 evaluations), c)" in note(board)
    assert "rows from ours (1 seed), mine (1 seed)" in note(leaderboard.read(ours, mine, by_run=True))


def test_a_value_stands_in_for_a_row_without_one_and_that_is_noted(run_folder, row):
    ours = run_folder("ours", [row("a", 0, None, status="failed: diverged", cell="x"), row("b", 0, 2.0)])
    mine = run_folder("mine", [row("a", 0, 5.0, cell="y")])
    for folders in ((ours, mine), (mine, ours)):
        board = leaderboard.read(*folders)
        assert values(board)["a", "", "0", 1] == {0: 5.0}
        assert all(e.statuses["fd_digits"].done for e in board.entries)
        assert "ours has no value of a NFE 1 seed 0 (failed: diverged)" in note(board)


def test_neither_folder_has_a_value(run_folder, row):
    folders = [run_folder(name, [row("a", 0, None, status=f"failed: {name}")]) for name in ("one", "two")]
    (entry,) = leaderboard.read(*folders).entries
    assert entry.statuses == {"fd_digits": Status(Kind.FAILED, "one")}
    assert entry.values == {}


def test_one_key_by_two_protocols_is_refused_even_with_one_value(run_folder, row):
    one, two = (run_folder(name, [row("a", 0, 0.0, protocol=name)]) for name in ("p", "q"))
    with pytest.raises(ConflictError, match="p and q both have a NFE 1 seed 0 fd_digits, by the protocols p and q"):
        leaderboard.read(one, two)


def test_seeds_by_two_protocols_are_not_pooled(run_folder, row):
    one, two = (run_folder(name, [row("a", seed, 1.0, protocol=name)]) for seed, name in enumerate("pq"))
    with pytest.raises(ConflictError, match="cannot be averaged: p in p, q in q; tell them apart with --label"):
        leaderboard.read(one, two)
    assert len(leaderboard.tables(leaderboard.read(one, two, by_run=True), ["fd_digits"])) == 2


@pytest.mark.parametrize("options", [{"by_run": True}, {"labels": ["published", "here"]}])
def test_by_run_or_by_label_two_values_are_two_rows(run_folder, row, options):
    folders = [run_folder(n, [row("a", s, v + s) for s in (0, 1)]) for n, v in (("ours", 1.0), ("mine", 7.0))]
    board = leaderboard.read(*folders, **options)
    labels = options.get("labels", ["ours", "mine"])
    assert values(board) == {
        ("a", "", "0", label, 1): {0: v, 1: v + 1} for label, v in zip(labels, (1.0, 7.0), strict=True)
    }
    (table,) = leaderboard.tables(board, ["fd_digits"])
    assert table.columns == ["method", "run", "NFE 1"]
    assert [line[1] for line in table.texts] == labels
    assert [entry.ranks["fd_digits"] for entry in board.entries] == [1, 2]
    assert leaderboard.to_frame(board)["run"].tolist() == labels


def test_folders_of_one_name_are_labelled_by_their_paths(run_folder, row):
    folders = [run_folder(f"{n}/quickstart", [row("a", 0, v)]) for n, v in (("x", 1.0), ("y", 2.0))]
    assert leaderboard.read(*folders, by_run=True).labels == [str(folder) for folder in folders]


@pytest.mark.parametrize(("labels", "message"), [(["one"], "1 labels for 2 folders"), (["l", "l"], "do not tell")])
def test_unfit_labels_are_refused(run_folder, row, labels, message):
    folders = [run_folder(name, [row("a", 0, 1.0)]) for name in "xy"]
    with pytest.raises(ValueError, match=message):
        leaderboard.read(*folders, labels=labels)


def test_the_title_names_all_suites(run_folder, row):
    folders = [run_folder(n, [row(n, 0, 1.0, suite=n)]) for n in ("ours", "mine")]
    assert note(leaderboard.read(*folders)).startswith("ours + mine: FD (digits), lower is better")
    assert leaderboard.to_frame(leaderboard.read(*folders))["suite"].tolist() == ["ours", "mine"]


def test_folders_may_have_different_metrics(run_folder, row):
    ours, mine = run_folder("ours", [row("a", 0, 1.0)]), run_folder("mine", [row("b", 0, 0.5, metric="recall")])
    board = leaderboard.read(ours, mine)
    assert [(t.texts[0][0], len(t.rows)) for t in leaderboard.tables(board, board.metrics)] == [("a", 1), ("b", 1)]
    assert leaderboard.to_frame(board)[["method", "metric"]].to_numpy().tolist() == [
        ["a", "fd_digits"],
        ["b", "recall"],
    ]


def test_what_two_folders_say_of_a_metric_must_agree(run_folder, row):
    ours = run_folder("ours", [row("a", 0, 1.0)])
    mine = run_folder("mine", [row("b", 0, 1.0)], facts={"fd_digits": Metric("FD", higher_is_better=True)})
    with pytest.raises(ConflictError, match="ours and mine disagree on whether a higher fd_digits is better"):
        leaderboard.read(ours, mine)


def trained(row, method, seed, value):
    return row(
        method, seed, value, budget="9 evaluations", train_evaluations=9, train_seconds=2.0, trainable_parameters=5
    )


@pytest.fixture
def spending(run_folder, row):
    """(name, method) -> a folder with one trained row, and what it cost."""

    def make(name, method):
        folder = run_folder(name, [trained(row, method, 0, 1.0)])
        key = {"suite": "test", "dataset": "digits", "teacher": "small", "method": method, "variant": ""}
        key |= {"budget": "9 evaluations", "seed": 0, "nfe": 1}
        costs = {**key, "run": f"train-{name}", "use": "pairs", "evaluations": 4, "flops": 40}
        (folder / "costs.csv").write_text(to_csv([costs], bench_costs.COLUMNS))
        tried = {**key, "trial": 0, "options": "", "status": "done", "distance": 2.5, "chosen": 1}
        (folder / "trials.csv").write_text(to_csv([tried], list(tried)))
        return folder

    return make


def test_costs_and_trials_are_those_of_all_folders(spending):
    folders = [spending(name, name) for name in ("ours", "mine")]
    board = leaderboard.read(*folders)
    assert [line[0] for line in board.costs.texts] == [line[0] for line in board.trials.texts] == ["ours", "mine"]


def test_what_two_folders_share_is_charged_once(spending):
    folders = [spending(name, "same") for name in ("ours", "mine")]
    board = leaderboard.read(*folders)
    assert [line[board.costs.columns.index("ground truth")] for line in board.costs.texts] == ["4"]
    assert [line[-1] for line in board.trials.texts] == ["1 of 1"]
    apart = leaderboard.read(*folders, by_run=True)
    for table in (apart.costs, apart.trials):
        assert [line[table.columns.index("run")] for line in table.texts] == ["ours", "mine"]


def test_blocks_are_those_of_the_folder_that_the_value_is_from(run_folder, row):
    """Two machines made one cell: the same value, other blocks."""
    rows = [row("a", 0, 1.0, cell="x")]
    folders = [
        run_folder(name, rows, [{"cell": "x", "metric": "fd_digits", "without": f"{v} {v}"}])
        for name, v in (("one", 1.0), ("two", 2.0))
    ]
    assert merge(folders).blocks["two", "x", "fd_digits"] == [2.0, 2.0]
    assert leaderboard.read(*folders).entries[0].without == {"fd_digits": {0: [1.0, 1.0]}}
