"""What the README and the manual show is what the code does."""

import csv
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
from fewstep.bench.run.forecast import forecast
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.reports import leaderboard, run_folder
from fewstep.reports.claims import reading as claims

ROOT = Path(__file__).parent.parent
MANUAL = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [
    *MANUAL,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "datasets/frozen/README.md")),
    *sorted((ROOT / "leaderboards").glob("**/*.md")),
]
TEXT = "".join(page.read_text() for page in MANUAL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


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


EXAMPLE = re.compile(r"<!-- (\w+): (\w+\.py) -->\n```python\n(.*?)```\n<!-- end -->", re.DOTALL)
ENTRY_POINT = re.compile(r"^\[project\.entry-points\.\"([\w.]+)\"\]\n(\w+) = \"([\w:]+)\"$", re.MULTILINE)


@pytest.fixture
def plugin(tmp_path):
    """All examples of docs/extend.md as one installed package: their modules, and their entry points."""
    page = (ROOT / "docs" / "extend.md").read_text()
    for _, name, text in EXAMPLE.findall(page):
        (tmp_path / name).write_text(text)
    facts = tmp_path / "mine-0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    points = [f"[{group}]\n{name} = {value}\n" for group, name, value in ENTRY_POINT.findall(page)]
    (facts / "entry_points.txt").write_text("".join(points))
    return tmp_path


def python(plugin, code, *arguments):
    """Code in a process that has the package installed."""
    path = os.pathsep.join(filter(None, [str(plugin), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=plugin)


def fewstep(plugin, *arguments):
    return python(plugin, "from fewstep.bench.cli import main; main()", *arguments)


def rows(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_the_suite_of_the_readme_is_valid(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(block("suite"))
    assert make_plan(load(str(file))).cells


def test_the_method_of_the_manual_runs_and_is_charged(plugin):
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
    table = {(row["method"], row["nfe"]): row for row in rows(plugin / "out" / "results.csv")}
    distilled = table["distil", "1"]
    assert float(distilled["value"]) < 0.7 * float(table["euler", "1"]["value"])
    steps = float(distilled["train_evaluations"]) / 64
    assert 60_000 - 64 * 13 < float(distilled["train_evaluations"]) <= 60_000
    assert steps == pytest.approx(round(steps / 12) * 12, rel=0.02)
    assert table["distil", "2"]["status"] == "skipped: distil is trained for one evaluation"


def test_the_solver_and_the_metric_of_the_manual_run_beside_ours(plugin):
    suite = {
        "name": "mine",
        "datasets": "mixture-2d",
        "teachers": {"name": "exact"},
        "budgets": {"evaluations": 1},
        "nfe": [1, 8],
        "samples": 100,
        "truth": {"samples": 100},
        "metrics": ["rmse", "worst_rmse"],
        "methods": [{"name": "euler"}, {"name": "ab2"}],
        "device": "cpu",
    }
    (plugin / "mine.yaml").write_text(yaml.safe_dump(suite))
    result = fewstep(plugin, "run", "mine.yaml", "--out", "out")
    assert result.returncode == 0, result.stderr
    found = rows(plugin / "out" / "results.csv")
    value = {(row["method"], int(row["nfe"]), row["metric"]): float(row["value"]) for row in found}
    assert value["ab2", 1, "rmse"] == pytest.approx(value["euler", 1, "rmse"], rel=1e-6)
    assert value["ab2", 8, "rmse"] < value["euler", 8, "rmse"]
    assert all(worst > value[*cell, "rmse"] for (*cell, name), worst in value.items() if name == "worst_rmse")


@pytest.mark.parametrize(
    ("name", "kind", "summary"),
    [
        ("distil", "student", "knowledge distillation"),
        ("ab2", "solver", "two-step Adams-Bashforth"),
        ("worst_rmse", "metric", "largest distance per pixel"),
        ("here", "executor", "one task at a time, in this process"),
    ],
)
def test_what_the_manual_adds_is_shown_like_ours(plugin, name, kind, summary):
    shown = fewstep(plugin, "show", name).stdout
    title = shown.splitlines()[0]
    assert title.startswith(name)
    assert title.endswith(f"({kind})")
    assert summary in shown


EXECUTE = """
import sys
from pathlib import Path
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.run.forecast import forecast
from fewstep.bench.store import Store
from fewstep.bench.run.executor import EXECUTORS, Resources
from fewstep.bench.suite.loading import load

task = next(task for task in make_plan(load("mine.yaml")).tasks() if task.kind == "teacher")
executor = EXECUTORS.pick("here").start(Resources(Path("store"), workers=1, threads=1))
executor.submit(task)
assert not executor.has_room and executor.running == [task]
assert list(executor.events(0)) == [("done", task.name, None)]
assert executor.has_room and (Path("store") / task.name).is_dir()
executor.close()
"""


def test_the_executor_of_the_manual_does_a_task(plugin):
    suite = {
        "name": "mine",
        "datasets": "mixture-2d",
        "teachers": {"name": "exact"},
        "budgets": {"evaluations": 1},
        "nfe": 1,
        "metrics": "rmse",
        "methods": [{"name": "euler"}],
    }
    (plugin / "mine.yaml").write_text(yaml.safe_dump(suite))
    result = python(plugin, EXECUTE)
    assert result.returncode == 0, result.stderr


MADE = """
import torch
from my_data_specs import SPIRAL
from my_teacher_specs import MOMENTS

data = SPIRAL.load()()
x0 = data.samples(torch.arange(len(data)))
assert x0.shape == (SPIRAL.size, *SPIRAL.shape)
teacher = MOMENTS.load()(MOMENTS.options(), data)
clean = teacher(x0[:8], torch.tensor(0.01))
assert (clean - x0[:8]).abs().max() < 0.01
assert (teacher(100 * x0[:8], torch.tensor(40.0)) - x0.mean(0)).abs().max() < 0.1
"""


def test_the_data_set_and_the_teacher_of_the_manual_are_made(plugin):
    result = python(plugin, MADE)
    assert result.returncode == 0, result.stderr


def test_a_plugins_mistake_is_named_like_ours(plugin):
    assert "distil" in fewstep(plugin, "list", "methods").stdout
    changed = "methods=[{name: distil, options: {btach: 3}}]"
    result = fewstep(plugin, "run", "quickstart", "--set", changed, "--dry-run")
    assert result.returncode == 2
    assert "unknown key 'btach'; did you mean 'batch'?" in result.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).exists(), target
    for heading in re.findall(r"\]\(#([\w-]+)\)", text):
        words = heading.replace("-", "[ -]")
        assert re.search(rf"^#+ {words}$", text, re.MULTILINE | re.IGNORECASE), heading


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_names_exists(page):
    for verb in re.findall(r"(?:`|^    )fewstep (\w+)", page.read_text(), re.MULTILINE):
        assert verb in main.commands, verb


def test_the_readme_says_how_much_the_quickstart_computes(tmp_path):
    said = re.search(r"about (\d+) TFLOP, in five to six minutes on two cores that do (\d+) GFLOP/s each", TEXT)
    assert said is not None
    tera, giga = map(float, said.groups())
    tasks = make_plan(load("quickstart")).tasks()
    flops = forecast(tasks, tasks, Store(tmp_path)).flops
    assert flops == pytest.approx(tera * 1e12, rel=0.05)
    assert 5 * 60 <= flops / (2 * giga * 1e9) <= 6 * 60


def test_the_readme_lists_every_command():
    readme = PAGES[0].read_text()
    assert {verb for verb in main.commands if f"`fewstep {verb}" not in readme} == set()


@pytest.mark.parametrize("page", publish.pages())
def test_the_generated_parts_are_those_of_the_committed_results(page):
    text = (ROOT / page).read_text()
    assert publish.MARK.search(text)
    assert publish.render(text) == text


def test_every_suite_with_results_has_a_page_that_shows_them_all():
    """A table in the index with a figure, and a page with what made the results, all tables and all claims."""
    index = (ROOT / "leaderboards" / "README.md").read_text()
    for folder in sorted(file.parent for file in (ROOT / "leaderboards").glob("*/results.csv")):
        page = (folder / "README.md").read_text()
        shown = {("made", folder.name, None), ("table", folder.name, None)}
        if claims.read([folder]):
            shown |= {("claims", folder.name, None), ("claims", folder.name, "details")}
        marks = {mark[1:4] for mark in map(re.Match.groups, publish.MARK.finditer(page))}
        assert {mark for mark in marks if mark[0] != "order"} == shown
        assert f"<!-- table {folder.name} " in index
        assert f"]({folder.name}/README.md)" in index
        assert f"]({folder.name}/" in re.sub(r"\]\([^)]*\.md\)", "", index), "no figure"


def test_the_manual_explains_every_file_and_column_of_a_run():
    text = (ROOT / "docs" / "results.md").read_text()
    described = {name for _, kind, name, _ in publish.MARK.findall(text) if kind == "columns"}
    assert described == set(run_folder.COLUMNS)
    for names in run_folder.COLUMNS.values():
        assert all(f"| `{name}` |" in text for name in names)


def test_the_findings_of_the_readme_are_those_of_its_table():
    board = leaderboard.read(ROOT / "leaderboards" / "quickstart")
    of = {(entry.method, entry.nfe): entry for entry in board.entries if entry.values.get("fd_digits")}
    mean = {key: entry.spread("fd_digits").mean for key, entry in of.items()}
    solvers = {method for method, _ in of if of[method, _].budget == "0"}
    ahead = {n: sorted((m for m, nfe in mean if nfe == n), key=lambda m: mean[m, n]) for n in (1, 4, 8)}
    assert ahead[1][:2] == ["diff-instruct", "knowledge"]
    students = [method for method in ahead[1] if method not in solvers]
    assert max(mean[m, 1] for m in students) < 0.1 * min(mean[m, 1] for m in solvers if (m, 1) in mean)
    assert ahead[4][0] == "bespoke"
    assert ahead[8][0] == "unipc-3"
    assert of["bespoke", 4].starred >= {"fd_digits"} <= of["unipc-3", 8].starred
    found = rows(ROOT / "leaderboards" / "quickstart" / "results.csv")
    learned = {(row["method"], row["nfe"]): row["trainable_parameters"] for row in found}
    assert learned["bespoke", "4"] == "15"
    assert {learned[m, "4"] for m in ("consistency", "progressive", "tract")} == {"149153"}


BANDS = {
    ("heun", 35): (0, 2.5),
    ("consistency", 1): (4.8 * 0.75, 4.8 * 1.25),
    ("consistency", 4): (3.0 * 0.75, 3.0 * 1.5),
    ("euler", 1): (120 * 0.75, 120 * 1.25),
    ("euler", 4): (11 * 0.75, 11 * 1.25),
    ("dpmpp-2m", 8): (2.0 * 0.75, 2.0 * 1.25),
    ("bespoke", 4): (2.1 * 0.75, 2.1 * 1.25),
    ("progressive", 1): (5.6 * 0.75, 5.6 * 1.25),
    ("progressive", 4): (3.7 * 0.75, 3.7 * 1.5),
    ("tract", 1): (6.5 * 0.75, 6.5 * 1.25),
    ("tract", 4): (4.4 * 0.75, 4.4 * 1.25),
    ("boot", 1): (8.7 * 0.7, 8.7 * 1.25),
    ("sim", 1): (3.5 * 0.75, 3.5 * 1.25),
}
"""What an independent implementation measured with rates of its own, fd_digits, within a quarter; students at four
evaluations within a half above, since their rates were chosen at one.
"""


@pytest.mark.parametrize("cell", BANDS, ids=str)
def test_the_committed_results_lie_in_the_expected_bands(cell):
    board = leaderboard.read(ROOT / "leaderboards" / "quickstart")
    (entry,) = [entry for entry in board.entries if (entry.method, entry.nfe) == cell]
    low, high = BANDS[cell]
    assert low < entry.spread("fd_digits").mean < high
    assert entry.spread("fd_digits").n == 2
