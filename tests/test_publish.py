"""leaderboards/publish.py keeps a run, and renders the pages from what is kept."""

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .bench.in_process import call

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "leaderboards" / "publish.py"


@pytest.fixture
def publish():
    spec = importlib.util.spec_from_file_location("publish", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path):
    """A root with pages that show one suite and link to one of its figures."""
    (tmp_path / "leaderboards").mkdir()
    page = "<!-- table quickstart recall -->\n<!-- end -->\n![](quickstart/nfe_fd_digits.svg)\n"
    for name in ("README.md", "leaderboards/README.md"):
        (tmp_path / name).write_text(page)
    return tmp_path


@pytest.fixture
def run(tmp_path):
    """A finished run: the committed one."""
    folder = tmp_path / "runs" / "quickstart"
    shutil.copytree(ROOT / "leaderboards" / "quickstart", folder, ignore=shutil.ignore_patterns("*.svg"))
    return folder


def test_a_run_is_kept_with_the_facts_of_its_metrics_and_the_figures_that_are_linked_drawn(publish, checkout, run):
    publish.copy(run, checkout)
    kept = {file.name: file for file in (checkout / "leaderboards" / "quickstart").iterdir()}
    assert set(kept) == {
        "results.csv", "blocks.csv", "costs.csv", "leaderboard.csv", "metrics.json", "methods.json", "papers.bib",
        "run.json", "suite.yaml", "learned.json", "curves.csv", "nfe_fd_digits.svg",
    }  # fmt: skip
    for name in ("results.csv", "metrics.json", "methods.json"):
        assert kept[name].read_bytes() == (run / name).read_bytes()


def test_no_path_of_one_machine_is_kept(publish, checkout, run):
    facts = json.loads((run / "run.json").read_text())
    absolute = str((run.parent / "out").absolute())
    (run / "run.json").write_text(json.dumps({**facts, "argv": ["fewstep", "run", "quickstart", "--out", absolute]}))
    publish.copy(run, checkout)
    kept = json.loads((checkout / "leaderboards" / "quickstart" / "run.json").read_text())
    assert kept["argv"] == ["fewstep", "run", "quickstart", "--out", "out"]


def test_a_figure_is_kept_for_the_page_of_its_suite_too(publish, checkout, run):
    folder = checkout / "leaderboards" / "quickstart"
    folder.mkdir()
    (folder / "README.md").write_text("![](nfe_recall.svg) ![](samples.svg)\n")
    publish.copy(run, checkout)
    assert "recall on digits" in (folder / "nfe_recall.svg").read_text()
    assert (folder / "pictures.npz").is_file()
    assert publish.figures("quickstart", checkout) == {"nfe_fd_digits", "nfe_recall", "samples"}


def test_a_link_to_a_figure_of_no_kind_is_refused(publish, checkout, run):
    (checkout / "README.md").write_text("![](leaderboards/quickstart/fd_digits.svg)\n")
    with pytest.raises(ValueError, match="no kind of figure 'fd'"):
        publish.copy(run, checkout)


def test_what_made_a_run_is_read_from_its_facts_and_protocols(publish, checkout, run):
    publish.copy(run, checkout)
    text = publish.render("<!-- made quickstart -->\n<!-- end -->", checkout / "leaderboards")
    facts = json.loads((run / "run.json").read_text())
    protocol = next(csv.DictReader((run / "results.csv").open()))["protocol"]
    assert facts["environment"]["git_commit"][:8] in text
    assert protocol.split("/")[1] in text
    assert "(149,153 parameters)" in text


@pytest.mark.parametrize(
    ("mark", "why"),
    [
        ("table quickstart trials", "quickstart has no trials"),
        ("table quickstart fid", "no metric 'fid' in these results"),
        ("columns pictures.npz", "no columns are described for 'pictures.npz'"),
        ("columns", "<!-- columns --> names no file"),
        ("claims quickstart", "quickstart states no claims"),
        ("order quickstart", "<!-- order quickstart --> names no second suite"),
    ],
)
def test_a_mark_that_means_nothing_is_one_line(publish, mark, why):
    with pytest.raises(ValueError, match=why) as error:
        publish.render(f"<!-- {mark} -->\n<!-- end -->")
    assert "\n" not in str(error.value)


def test_a_page_shows_the_kept_run_and_is_the_same_when_rendered_again(publish, checkout, run):
    publish.copy(run, checkout)
    page = publish.render((checkout / "README.md").read_text(), checkout / "leaderboards")
    assert "**quickstart: recall, higher is better, on digits" in page
    assert page.count("**quickstart: ") == 1
    assert publish.render(page, checkout / "leaderboards") == page


CLAIM = {
    "id": "unipc-beats-euler",
    "paper": {"key": "zhao2023unipc", "says": "UniPC is nearer than DDIM", "where": "abstract", "scale": "CIFAR-10"},
    "metric": "fd_digits",
    "tests": [{"less": {"method": "unipc-3"}, "than": {"method": "euler"}}],
    "at": {"nfe": [8]},
}


def test_a_page_of_claims_has_sentence_place_test_numbers_verdict_and_command(publish, checkout, run):
    with (run / "suite.yaml").open("a", encoding="utf-8") as suite:
        suite.write(yaml.safe_dump({"claims": [CLAIM]}))
    publish.copy(run, checkout)
    marks = "".join(f"<!-- claims quickstart{which} -->\n<!-- end -->\n" for which in ("", " sentences", " details"))
    page = " ".join(publish.render(marks, checkout / "leaderboards").split())
    for said in (
        "| unipc-beats-euler | digits | | undecided |",
        "| unipc-beats-euler | UniPC is nearer than DDIM (abstract) | undecided |",
        "“UniPC is nearer than DDIM” (zhao2023unipc, abstract)",
        "in the paper: CIFAR-10",
        "| unipc-3 &lt; euler | 8 | 0.28 ",
        "fewstep claims leaderboards/quickstart --claim unipc-beats-euler",
    ):
        assert said in page, said


def test_a_page_shows_whether_two_boards_have_one_order_as_the_command_does(publish):
    page = publish.render("<!-- order digits claims-mixture -->\n<!-- end -->")
    said = call(
        "compare", *(ROOT / "leaderboards" / suite for suite in ("digits", "claims-mixture")), "--format", "markdown"
    )
    assert said.output.strip() in page
    assert "tau-b" in page


def test_the_script_runs_from_a_checkout_and_names_what_is_missing(tmp_path):
    result = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "no-such-run"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "no-such-run/run.json is missing: publish a finished run of that suite first" in result.stderr
