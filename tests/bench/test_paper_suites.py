"""The suites of papers: their published rows exist and are reached, and each is listed with what it needs."""

import dataclasses
import re
from pathlib import Path

import pytest

from fewstep.bench.benchmarks import gpu_hours
from fewstep.bench.commands.findings import findings
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.results.published import beside
from fewstep.bench.suite.loading import SHIPPED, load
from fewstep.reports.published.against import lines
from fewstep.reports.published.collection import collection, of_table
from fewstep.reports.published.judgement import Verdict
from fewstep.reports.published.papers import protocols

from .in_process import call
from .test_problems import CELLS, nothing_here  # noqa: F401

ROOT = Path(__file__).parents[2]
SUITES = sorted(path.stem for path in (SHIPPED / "papers").glob("*.yaml"))
TABLES = [name for name in SUITES if load(f"papers/{name}").paper is not None]


def test_every_suite_of_a_paper_has_its_number_of_cells_stated():
    assert sorted(CELLS) == SUITES
    assert {name for name in SUITES if load(f"papers/{name}").name != name} == set()


@pytest.mark.parametrize("name", TABLES)
def test_every_published_text_is_that_of_a_number_which_the_suite_reaches(name):
    """Of its table, on a data set of its problems, at an NFE of its row."""
    suite = load(f"papers/{name}")
    stated = beside(suite)
    entries = [entry for entry in suite.methods if entry.published is not None]
    assert entries or any(problem.published for problem in suite.problems)
    for entry, own in zip(entries, stated.rows, strict=True):
        beside_it = lines(dataclasses.replace(stated, rows=[own]), None)
        found = [line.row for line in beside_it if line.judged.verdict is not Verdict.QUOTED]
        for variant in entry.published.solver_or_variant or [None]:
            nfes = {row.nfe for row in found if variant in (None, row.solver_or_variant)}
            reached = {str(nfe * own["forwards_per_nfe"]) for nfe in entry.nfe or suite.nfe}
            assert nfes, (entry.name, variant)
            # Where the paper prints none, the row has one.
            assert own["measured_nfe"] or nfes & reached or (nfes == {""} and len(reached) == 1), (variant, nfes)


@pytest.mark.parametrize("name", TABLES)
def test_a_suite_without_results_shows_the_papers_table_alone(nothing_here, name):  # noqa: F811
    result = call("leaderboard", f"papers/{name}")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(load(f"papers/{name}").paper.key)
    assert "no cell can be compared" in result.output
    assert "-- rows of the suite" in result.output


def test_every_suite_of_a_table_has_a_line_of_its_protocol():
    known = protocols()
    for name in TABLES:
        paper = load(f"papers/{name}").paper
        tables = {row.paper_table for row in of_table(collection(), paper.key, paper.table)}
        assert any((paper.key, table) in known for table in (*tables, "")), name


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_says_what_it_needs_and_how_long_it_takes(name):
    suite = load(f"papers/{name}")
    assert f"It takes one GPU about {gpu_hours.said(suite)}, an estimate. Supply " in suite.description
    assert suite.description.endswith(f": fewstep doctor papers/{name} lists them.")


@pytest.mark.parametrize("name", ["edm-cifar10-32x32-uncond-vp", "ema_cifar10", "imagenet64_uncond_100M_1500K"])
def test_the_hours_are_of_counted_forwards(name):
    assert dict(gpu_hours.count([name])) == {name: pytest.approx(gpu_hours.GFLOPS[name], rel=1e-4)}


def test_the_hours_of_a_grid_of_solvers_are_those_of_its_evaluations():
    """Of six rows at 3 to 10 and two at even NFEs, on three networks."""
    nfes = 6 * sum(range(3, 11)) + 2 * sum((4, 6, 8, 10))
    each = 42.383 + 83.732 + 219.330
    assert gpu_hours.hours(load("papers/diffsampler-edm")) == pytest.approx(nfes * 50_000 * each * 1e9 / 18e12 / 3600)


def needs(name):
    """`2 networks, 1 statistics, 1 archive`, as doctor finds where nothing is."""
    found = [line for line, state, _ in findings(load(f"papers/{name}")) if not state.startswith("not needed")]
    counts = {
        "network": sum(line.startswith("file checkpoints/") for line in found),
        "file of statistics": sum(line.startswith("file stats/") for line in found),
        "pipeline": sum(line.startswith("pipeline ") for line in found),
        "file of weights": sum(line.startswith("weights ") for line in found),
        "archive": sum(line.startswith("dataset ") for line in found),
    }
    plural = {name: f"{name}s" for name in ("network", "archive", "pipeline")}
    plural |= {"file of statistics": "files of statistics", "file of weights": "files of weights"}
    return ", ".join(f"{n} {what if n == 1 else plural[what]}" for what, n in counts.items() if n)


def listed(name):
    """The suite's line in docs/suites.md."""
    suite = load(f"papers/{name}")
    what = re.split(r"[:,.](?= )", suite.description.replace("et al.", "et al"))[0].replace("et al", "et al.")
    return f"| `{name}` | {what} | {needs(name)} | {len(make_plan(suite).cells)} | {gpu_hours.said(suite)} |"


def test_the_documentation_lists_every_suite_with_what_it_needs(nothing_here):  # noqa: F811
    text = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
    section = text.partition("## Suites of papers\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    assert lines == [listed(name) for name in SUITES]


def test_doctor_asks_for_the_network_that_a_solver_is_transferred_from(nothing_here):  # noqa: F811
    files = {line for line, _, _ in findings(load("papers/bespoke-transfer"))}
    assert {"file checkpoints/64x64_diffusion.pt", "file checkpoints/128x128_diffusion.pt"} <= files
