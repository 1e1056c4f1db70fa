"""`fewstep figure` writes what was asked for, or says in one line what is wrong and writes nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fewstep.bench.cli import main

QUICKSTART = str(Path(__file__).parents[2] / "leaderboards" / "quickstart")


@pytest.fixture
def figure(tmp_path):
    """Options -> (exit code, what was printed, the file)."""

    def run(*options, out="f.pdf"):
        file = tmp_path / out
        result = CliRunner().invoke(main, ["figure", QUICKSTART, "--out", str(file), *options])
        return result.exit_code, result.output, file

    return run


@pytest.mark.parametrize(("out", "start"), [("f.pdf", b"%PDF"), ("f.svg", b"<svg"), ("f.PNG", b"\x89PNG")])
def test_the_name_of_the_file_says_the_format(figure, out, start):
    code, printed, file = figure("--kind", "nfe", "--methods", "unipc-3,sim", "--width", "3.25", out=out)
    assert (code, printed.strip()) == (0, str(file))
    assert file.read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("options", "out", "why"),
    [
        (["--kind", "pie"], "f.pdf", "no kind of figure 'pie'; there are nfe, pareto"),
        (["--kind", "nfe", "--metric", "fid"], "f.pdf", "no metric 'fid'"),
        (["--kind", "nfe", "--methods", "ddgan"], "f.pdf", "no row of method 'ddgan'"),
        (["--kind", "nfe", "--nfe", "7"], "f.pdf", "no row has NFE 7"),
        (["--kind", "nfe", "--nfe", "few"], "f.pdf", "--nfe: expected numbers"),
        (["--kind", "nfe", "--width", "0"], "f.pdf", "width 0: give 2 to 20 inches"),
        (["--kind", "nfe", "--format", "svg"], "f.pdf", "--format svg for"),
        (["--kind", "nfe", "--format", "gif"], "f.pdf", "--format: no format 'gif'; there are pdf, svg, png"),
        (["--kind", "nfe"], "f.gif", "expected a name that ends in .pdf, .svg, .png"),
        (["--kind", "budget"], "f.pdf", "no row was trained at several budgets"),
        (["--kind", "nfe", "--label", "a", "--label", "b"], "f.pdf", "--label: 2 labels for 1 runs"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(figure, options, out, why):
    code, printed, file = figure(*options, out=out)
    assert code == 2
    assert why in printed
    assert printed.count("\n") == 1
    assert not file.exists()


def test_help_names_every_kind():
    from fewstep.reports.figures import KINDS

    printed = CliRunner().invoke(main, ["figure", "--help"]).output
    assert all(kind in printed for kind in KINDS)
