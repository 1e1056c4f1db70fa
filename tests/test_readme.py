"""What the README and the manual show is what the code does."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fewstep.bench.commands.main import main
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.suite.loading import load
from fewstep.reports import leaderboard

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "".join(page.read_text() for page in PAGES)


def script(path: Path):
    """A script of the checkout, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


publish = script(ROOT / "leaderboards" / "publish.py")


def block(name: str) -> str:
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```\n<!-- end -->", TEXT, re.DOTALL)
    assert found, f"no page has a block {name!r}"
    return found[1]


@pytest.fixture
def plugin(tmp_path):
    """The manual's example as an installed package: two modules and an entry point."""
    for name in ("my_methods.py", "my_specs.py"):
        (tmp_path / name).write_text(block(f"method: {name}"))
    facts = tmp_path / "mine-0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    (facts / "entry_points.txt").write_text("[fewstep.methods]\ndistil = my_specs:DISTIL\n")
    return tmp_path


def fewstep(plugin, *arguments):
    path = os.pathsep.join(filter(None, [str(plugin), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", "from fewstep.bench.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=plugin)


def test_the_suite_of_the_readme_is_valid(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(block("suite"))
    assert make_plan(load(str(file))).cells


def test_the_method_of_the_readme_runs_and_is_charged(plugin):
    suite = {
        "name": "mine",
        "datasets": "mixture-2d",
        "teachers": {"name": "pretrain", "images": 64_000, "network": {"name": "mlp", "width": 32, "blocks": 2}},
        "budgets": {"evaluations": 60_000},
        "nfe": [1, 2],
        "samples": 200,
        "truth": {"samples": 200},
        "metrics": "rmse",
        "methods": [{"name": "euler"}, {"name": "distil"}],
        "device": "cpu",
    }
    (plugin / "mine.yaml").write_text(yaml.safe_dump(suite))
    result = fewstep(plugin, "run", "mine.yaml", "--out", "out")
    assert result.returncode == 0, result.stderr
    rows = [line.split(",") for line in (plugin / "out" / "results.csv").read_text().splitlines()]
    table = {(row[3], row[7]): dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    distilled = table["distil", "1"]
    assert float(distilled["value"]) < 0.7 * float(table["euler", "1"]["value"])
    steps = float(distilled["train_evaluations"]) / 64
    assert 60_000 - 64 * 13 < float(distilled["train_evaluations"]) <= 60_000
    assert steps == pytest.approx(round(steps / 12) * 12, rel=0.02)
    assert table["distil", "2"]["status"] == "skipped: distil is trained for one evaluation"


def test_a_plugins_mistake_is_named_like_ours(plugin):
    assert "distil" in fewstep(plugin, "list", "methods").stdout
    changed = "methods=[{name: distil, options: {btach: 3}}]"
    result = fewstep(plugin, "run", "quickstart", "--set", changed, "--dry-run")
    assert result.returncode == 2
    assert "unknown key 'btach'; did you mean 'batch'?" in result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page):
    for verb in re.findall(r"(?:`|^    )fewstep (\w+)", page.read_text(), re.MULTILINE):
        assert verb in main.commands, verb


def test_the_readme_lists_every_command():
    readme = PAGES[0].read_text()
    assert {verb for verb in main.commands if f"`fewstep {verb}" not in readme} == set()


@pytest.mark.parametrize("page", publish.PAGES)
def test_the_tables_are_those_of_the_committed_results(page):
    text = (ROOT / page).read_text()
    assert publish.TABLE.findall(text)
    assert publish.render(text) == text


BANDS = {
    ("heun", 35): (0, 2.5),
    ("consistency", 1): (4.8 * 0.75, 4.8 * 1.25),
    ("consistency", 4): (3.0 * 0.75, 3.0 * 1.25),
    ("euler", 1): (120 * 0.75, 120 * 1.25),
    ("euler", 4): (11 * 0.75, 11 * 1.25),
    ("dpmpp-2m", 8): (2.0 * 0.75, 2.0 * 1.25),
    ("bespoke", 4): (2.1 * 0.75, 2.1 * 1.25),
    ("progressive", 1): (5.6 * 0.75, 5.6 * 1.25),
    ("progressive", 4): (3.7 * 0.75, 3.7 * 1.25),
    ("tract", 1): (6.5 * 0.75, 6.5 * 1.25),
    ("tract", 4): (4.4 * 0.75, 4.4 * 1.25),
    ("boot", 1): (8.7 * 0.7, 8.7 * 1.25),
    ("sim", 1): (3.5 * 0.75, 3.5 * 1.25),
}
"""What an independent implementation measured on the same recipe, fd_digits, within a quarter."""


@pytest.mark.parametrize("cell", BANDS, ids=str)
def test_the_committed_results_lie_in_the_expected_bands(cell):
    board = leaderboard.read(ROOT / "leaderboards" / "quickstart")
    (entry,) = [entry for entry in board.entries if (entry.method, entry.nfe) == cell]
    low, high = BANDS[cell]
    assert low < entry.spread("fd_digits").mean < high
    assert entry.spread("fd_digits").n == 2
