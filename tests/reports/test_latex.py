"""LaTeX tables compile, fit a text of 5.5 inches, and cite."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fewstep.reports import latex, leaderboard
from fewstep.reports.run_folder import METHODS, PAPERS, Method, methods_json
from fewstep.reports.tables import Cell, Group, Table

BOARDS = Path(leaderboard.__file__).parents[1] / "leaderboards"
PAGE = r"""\documentclass{article}
\usepackage[textwidth=5.5in,textheight=9in]{geometry}
\usepackage{booktabs}
\IfFileExists{siunitx.sty}{\usepackage{siunitx}}{}
\begin{document}
%s
\end{document}
"""
HOSTILE = [
    r"\alpha_{x}^2",
    "100 % & #1 $x$",
    "~`|<img>",
    "[0, 1]",
    "±–…",
    "x" * 80,
    "a_b" * 30,
    "学習",
    "é" * 40,
    "--''",
]


@pytest.fixture
def overfull(tmp_path):
    """(LaTeX) -> the lines of pdflatex's log about errors and boxes that are too wide or too high."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")

    def compile_(text):
        (tmp_path / "page.tex").write_text(PAGE % text, encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "page.tex"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
        log = (tmp_path / "page.log").read_text(encoding="utf-8", errors="replace")
        assert (tmp_path / "page.pdf").is_file(), log[-2000:]
        return re.findall(r"^(?:Overfull|!|.*Float too large).*", log, re.MULTILINE)

    return compile_


@pytest.mark.parametrize("suite", ["digits", "quickstart", "learned-solvers"])
def test_a_committed_board_has_no_overfull_box(overfull, suite):
    board = leaderboard.read(BOARDS / suite)
    tables = [*leaderboard.tables(board, board.metrics), board.costs]
    assert overfull("\n".join(map(latex.write, tables))) == []


@pytest.mark.parametrize("transpose", [False, True])
def test_numbers_aligned_by_siunitx_compile_and_fit(overfull, transpose):
    if not subprocess.run(["kpsewhich", "siunitx.sty"], capture_output=True, check=False).stdout:
        pytest.skip("siunitx is not installed")
    board = leaderboard.read(BOARDS / "digits")
    text = leaderboard.render(board, "siunitx", "fd_digits", transpose=transpose)
    assert overfull(text) == []


def test_siunitx_reads_numbers_with_their_errors_and_sets_the_rest_in_braces():
    cells = [Cell("2.41", error="0.12", best=True), Cell("114.8", error="0.2"), Cell("–"), Cell("1.2e-04"), Cell()]
    table = Table("T", ["method", "NFE 1"], [Group("", [[Cell("a"), cell] for cell in cells])], [])
    text = latex.write_siunitx(table)
    assert "{@{}lS[table-format=3.2(2)]@{}}" in text
    assert r"a & \bfseries 2.41(12) \\" in text
    assert r"a & 114.8(2) \\" in text
    assert r"a & {--} \\" in text
    assert r"a & {1.2e-04} \\" in text
    assert "method & {NFE 1}" in text


def test_hostile_labels_compile_and_fit(overfull):
    rows = [[Cell(label, label), Cell("1.00", error="0.10", best=True)] for label in HOSTILE]
    table = Table(
        " ".join(HOSTILE), ["method", "NFE 1"], [Group(HOSTILE[0], rows)], HOSTILE, best="best", key=("s", "m")
    )
    assert overfull(latex.write(table)) == []


def test_a_long_table_is_several_floats(overfull):
    rows = [[Cell(f"m{i}"), *(Cell(f"{i}.00", error="0.10") for _ in range(12))] for i in range(130)]
    text = latex.write(
        Table("long", ["method", *map(str, range(12))], [Group("", rows)], ["said once"], key=("s", "m"))
    )
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels == ["tab:s-m", *(f"tab:s-m-{i}" for i in range(2, len(labels) + 1))]
    assert len(labels) > 2
    assert text.count("said once") == 1
    assert overfull(text) == []


@pytest.fixture
def board(run_folder, row):
    """Of a solver and a student with three seeds; each of `best`, `second` and `worst` has the place of its name."""
    values = {"best": 1.0, "second": 2.0, "worst": 3.0}
    rows = [
        row(m, s, v + 0.01 * s, budget="0" if m == "best" else "9000 images")
        for m, v in values.items()
        for s in range(3)
    ]
    folder = run_folder("run", rows)
    facts = {"best": Method("A&B", "solver", ("one2020a", "gone")), "second": Method("S", "student", ("two2020b",))}
    (folder / METHODS).write_text(methods_json({**facts, "worst": Method("W", "student", ("two2020b",))}))
    (folder / PAPERS).write_text(
        "@misc{one2020a,\n title={A}\n}\n\n@misc{two2020b,\n title={B}\n}\n\n@misc{c,\n title={C}\n}\n"
    )
    return leaderboard.read(folder)


def test_the_best_is_bold_the_second_underlined_the_error_small(board):
    text = leaderboard.render(board, "latex")
    lines = {line.split("~")[0]: line for line in text.splitlines() if "~" in line}
    assert r"\textbf{1.01}" in lines[r"A\&B"]
    assert r"\underline{2.01}\,{\scriptsize$\pm$\,0.01}" in lines["S"]
    assert "{3.01}" not in lines["W"]
    assert text.index(r"\emph{training-free solvers}") < text.index(r"\emph{students}")
    assert r"\midrule" + "\n" + r"\multicolumn{3}{@{}l}{\emph{students}}" in text


def test_a_table_has_a_label_and_its_notes_are_not_in_its_caption(board):
    text = leaderboard.render(board, "latex")
    assert r"\label{tab:test-fd_digits}" in text
    (caption,) = re.findall(r"\\caption\{(.*)\}", text)
    assert "seeds" not in caption
    assert text.index("standard deviation") > text.index(r"\bottomrule")
    assert "Bold: no row is significantly better" in text


def test_without_a_metric_latex_is_the_first_metric_alone(board):
    assert leaderboard.render(board, "latex") == leaderboard.render(board, "latex", "fd_digits")


def test_methods_cite_the_papers_that_there_are_and_the_bibliography_has_those_only(board):
    text = leaderboard.render(board, "latex")
    assert re.findall(r"\\cite\{(.*?)\}", text) == ["one2020a", "two2020b", "two2020b"]
    assert re.findall(r"@misc\{(\w+),", leaderboard.bibliography(board)) == ["one2020a", "two2020b"]
