"""Tables on a terminal are never wider than it, whatever the labels are."""

import os
import shutil
from pathlib import Path

import pytest

from fewstep.reports import leaderboard, terminal
from fewstep.reports.quality import grids, table
from fewstep.reports.run_folder import METHODS, Method, methods_json
from fewstep.reports.tables import Cell, Group, Table

FOLDERS = sorted(file.parent for file in (Path(leaderboard.__file__).parents[1] / "leaderboards").glob("*/results.csv"))
committed = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
HOSTILE = ["x" * 200, "学習率=" + "高" * 60, "a\nb\tc", "\x1b[31mred", "e\u0301" * 90, "word " * 30]


@pytest.fixture(scope="module")
def boards():
    return {folder: leaderboard.read(folder) for folder in FOLDERS}


@committed
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_a_committed_board_is_longer_than_the_terminal(boards, folder, width):
    lines = leaderboard.render(boards[folder], "table", width=width).splitlines()
    assert max(map(terminal.columns, lines)) <= width


@committed
def test_every_committed_value_is_in_the_text_once(boards, folder):
    """Of each table the cells with a value are as many as the values, whichever blocks they are in."""
    board = boards[folder]
    for grid in grids(board, board.metrics):
        made = table(board, grid)
        body = terminal.write(Table("", made.columns, made.groups, [], made.left), 80)
        found = sum(line.count(" ± ") for line in body.splitlines())
        assert found == sum(bool(cell.error) for row in made.rows for cell in row)
        spreads = [entry.spread(grid.metric) for entry in grid.measured]
        assert found == sum(s.n > 1 and (s.mean, s.std) != (0.0, 0.0) for s in spreads)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("label", HOSTILE)
def test_no_label_makes_a_line_longer_or_moves_the_cursor(run_folder, row, width, label):
    rows = [
        row(m, s, v + s, variant=f"{label}{v}", nfe=n) for n in (1, 2, 4) for v, m in enumerate("abc") for s in (0, 1)
    ]
    text = leaderboard.render(leaderboard.read(run_folder("run", rows)), "table", width=width)
    assert max(map(terminal.columns, text.splitlines())) <= width
    assert all(character.isprintable() for character in text.replace("\n", ""))


def test_rows_that_are_cut_stay_different():
    texts = [f"{'a' * 30}{i}{'b' * 30}" for i in range(12)]
    found = terminal.shortened(texts, 16)
    assert len(set(found)) == 12
    assert all(len(text) == 16 for text in found)
    assert found[0] == "aaaaaaaa…bbbbbbb"
    assert terminal.shortened(["short", "short"], 16) == ["short", "short"]


def test_number_columns_are_broken_into_blocks_and_a_row_is_in_those_where_it_has_a_value():
    rows = [[Cell("a"), Cell("1.00"), Cell()], [Cell("b"), Cell(), Cell("2.00")]]
    whole = Table("title", ["method", "NFE 1", "NFE 2"], [Group("", rows)], [])
    assert terminal.write(whole, 80) == "\n".join(
        ["title", "", "method  NFE 1  NFE 2", "-" * 20, "a        1.00", "b               2.00"]
    )
    assert terminal.write(whole, 19) == "\n".join(
        ["title", "", "method  NFE 1", "-" * 13, "a        1.00", "", "method  NFE 2", "-" * 13, "b        2.00"]
    )  # fmt: skip


def test_kinds_of_methods_are_parted_by_rules_and_what_a_group_shares_is_said_once(run_folder, row):
    rows = [row(m, 0, 1.0, variant="grid=karras-7 zero") for m in ("euler", "heun")]
    rows += [row("sim", 0, 1.0, budget="100000 evaluations")]
    folder = run_folder("run", rows)
    facts = {"sim": Method("SIM", "student"), "euler": Method("Euler", "solver"), "heun": Method("Heun", "solver")}
    (folder / METHODS).write_text(methods_json(facts))
    lines = leaderboard.render(leaderboard.read(folder), "table", width=80).splitlines()
    assert [line.split()[0:2] for line in lines[2:8]] == [
        ["method", "NFE"], ["--", "training-free"], ["Euler", "1.00**"], ["Heun", "1.00**"], ["--", "students"],
        ["SIM", "1.00**"],
    ]  # fmt: skip
    assert "options of all training-free solvers: grid=karras-7 zero" in lines
    assert "budget of training: 100k evaluations" in lines


def test_several_budgets_are_a_column_with_the_unit_in_its_head(run_folder, row):
    rows = [row("a", 0, 1.0, budget=f"{n} evaluations") for n in (30_000, 100_000)]
    (table,) = leaderboard.tables(leaderboard.read(run_folder("run", rows)), ["fd_digits"])
    assert table.columns == ["method", "budget (evals)", "NFE 1"]
    assert [line[1] for line in table.texts] == ["30k", "100k"]


def test_the_width_is_that_of_the_terminal_or_a_hundred(monkeypatch):
    monkeypatch.setenv("COLUMNS", "67")
    assert terminal.width() == 67
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(shutil, "get_terminal_size", lambda fallback: os.terminal_size(fallback))
    assert terminal.width() == 100


@pytest.mark.parametrize(
    ("sort", "order"), [("", "cab"), ("method", "abc"), ("nfe:1", "bca"), ("nfe:2", "acb"), ("budget", "abc")]
)
def test_rows_are_sorted_by_the_column_asked_for(run_folder, row, sort, order):
    values = {"c": (2.0, 2.0), "a": (3.0, 1.0), "b": (1.0, None)}
    budgets = dict(zip("abc", ("100 images", "2000 images", "1e6 images"), strict=True))
    rows = [
        row(m, 0, v, nfe=n, budget=budgets[m])
        for m, own in values.items()
        for n, v in enumerate(own, 1)
        if v is not None
    ]
    (table,) = leaderboard.tables(leaderboard.read(run_folder("run", rows)), ["fd_digits"], sort)
    assert "".join(line[0] for line in table.texts) == order


@pytest.mark.parametrize(
    ("sort", "message"), [("fid", "cannot sort by 'fid'"), ("nfe:3", "no row has NFE 3; there are 1")]
)
def test_an_unknown_column_to_sort_by_is_refused(run_folder, row, sort, message):
    board = leaderboard.read(run_folder("run", [row("a", 0, 1.0)]))
    for style in ("table", "csv"):
        with pytest.raises(ValueError, match=message):
            leaderboard.render(board, style, sort=sort)


def test_a_transposed_table_has_the_same_values_methods_across(run_folder, row):
    rows = [row(m, s, v + n + s, nfe=n) for n in (1, 2) for v, m in enumerate("abc") for s in (0, 1)]
    board = leaderboard.read(run_folder("run", rows))
    upright, across = (
        leaderboard.render(board, "table", "fd_digits", width=200, transpose=turned) for turned in (False, True)
    )
    cells = [line.split("  ") for line in upright.splitlines() if line.startswith(("a ", "b ", "c "))]
    values = [[part.strip() for part in line if "±" in part] for line in cells]
    turned = [line.split("  ") for line in across.splitlines() if line.startswith("NFE")]
    found = [[part.strip() for part in line if "±" in part] for line in turned]
    assert len(found) == 2
    assert found == [list(column) for column in zip(*values, strict=True)]
    assert "no column is significantly better" in across
