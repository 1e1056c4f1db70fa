"""Everything that the README calls pluggable is: one of each from a package outside, and as files inside."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import fewstep
from fewstep.tests import plugins

HOUSE = Path(fewstep.__file__).parent
ADDED = {"method": "nudge", "solver": "midway", "metric": "worst", "dataset": "spokes", "teacher": "wiener"}
"""What is added, by kind."""
PAIRS = {
    "nudge": (plugins.METHOD, plugins.METHOD_SPEC),
    "midway": (plugins.SOLVER, plugins.SOLVER_SPEC),
    "spokes": (plugins.POINTS, plugins.POINTS_SPEC),
    "wiener": (plugins.TEACHER, plugins.TEACHER_SPEC),
    "tally": (plugins.EXECUTOR, plugins.EXECUTOR_SPEC),
}
"""The name of what is added, its formulas, and its spec, which imports no torch."""
GROUPS = {
    "methods": ("nudge_spec:SPEC", "euler"),
    "solvers": ("midway_spec:SPEC", "euler"),
    "datasets": ("spokes_spec:SPEC", "digits"),
    "teachers": ("wiener_spec:SPEC", "exact"),
    "executors": ("tally_spec:SPEC", "local"),
    "metrics": ("worst:WORST", "rmse"),
}
"""By kind, what an entry point of `fewstep.<kind>` names, and a name that is taken."""
SUITE = {
    "name": "plugged",
    "datasets": "spokes",
    "teachers": {"name": "wiener", "sigma_max": 20},
    "budgets": {"evaluations": 400},
    "nfe": 3,
    "samples": 64,
    "truth": {"samples": 16, "tolerance": 1e-3},
    "metrics": ["rmse", "worst"],
    "methods": [{"name": "euler"}, {"name": "midway"}, {"name": "nudge", "nfe": 1}],
    "device": "cpu",
}


def modules() -> dict[str, str]:
    """Every module of the package outside, by name."""
    found = {"worst": plugins.METRIC}
    for name, (formulas, spec) in PAIRS.items():
        found |= {name: formulas, f"{name}_spec": spec.format(formulas=name)}
    return found


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, with the folder first on Python's path."""
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    line = [sys.executable, "-c", "from fewstep.bench.cli import main; main()", *arguments]
    everything = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run(line, capture_output=True, text=True, check=False, env=everything, cwd=folder)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A folder with the package installed, and the suite that uses all of it, run by the package's executor."""
    folder = tmp_path_factory.mktemp("outside")
    points = {f"fewstep.{kind}": {"mine": value} for kind, (value, _) in GROUPS.items()}
    plugins.install(folder, "one-of-each", modules(), points)
    (folder / "plugged.yaml").write_text(yaml.safe_dump(SUITE))
    result = command(folder, "run", "plugged.yaml", "--out", "out", "--executor", "tally", "--workers", "1")
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def values(outside):
    """(method, metric) -> value of the suite's rows."""
    found = rows(outside / "out")
    assert {row["status"] for row in found} == {"done"}
    return {(row["method"], row["metric"]): float(row["value"]) for row in found}


def test_a_method_of_two_files_is_trained_within_its_budget(outside, values):
    assert ("nudge", "rmse") in values
    with (outside / "out" / "costs.csv").open(encoding="utf-8") as stream:
        spent = [float(row["evaluations"]) for row in csv.DictReader(stream) if row["method"] == "nudge"]
    assert 0 < sum(spent) <= 400


def test_a_solver_of_a_function_and_its_spec_solves(values):
    assert values["midway", "rmse"] == pytest.approx(values["euler", "rmse"], rel=1e-4)


def test_a_metric_of_one_file_scores_every_row(values):
    assert {method for method, metric in values if metric == "worst"} == {"euler", "midway", "nudge"}
    assert values["euler", "worst"] > values["euler", "rmse"] > 0


def test_a_data_set_and_a_teacher_are_those_of_the_rows(outside):
    assert {(row["dataset"], row["teacher"]) for row in rows(outside / "out")} == {("spokes", "wiener")}


def test_an_executor_is_given_every_task(outside):
    tally = (outside / "out" / "store" / "tally.txt").read_text().split()
    kinds = ["teacher", "truth", "train", "sample", "sample", "sample", "score", "score", "score"]
    assert sorted(tally) == sorted(kinds)


def test_what_a_teacher_says_of_its_identity_is_part_of_its_results(outside):
    arguments = ("run", "plugged.yaml", "--out", "out", "--dry-run")
    assert "9 tasks, 0 to do" in command(outside, *arguments).stdout
    assert "9 tasks, 9 to do" in command(outside, *arguments, WIENER_FILE="another").stdout


@pytest.mark.parametrize(("module", "told"), [("spokes", 9), ("wiener", 9), ("midway", 2), ("nudge", 3), ("worst", 3)])
def test_a_change_in_a_plugin_outdates_what_is_computed_by_it(outside, module, told):
    file = outside / f"{module}.py"
    source = file.read_text()
    file.write_text(source + "\nADDED = 1\n")
    try:
        found = command(outside, "run", "plugged.yaml", "--out", "out", "--dry-run").stdout
    finally:
        file.write_text(source)
    assert f"9 tasks, {told} to do" in found


@pytest.mark.parametrize(("kind", "name"), [*ADDED.items(), ("executor", "tally")])
def test_list_and_show_tell_of_what_is_outside(outside, kind, name):
    assert name in command(outside, "list", f"{kind}s").stdout
    shown = command(outside, "show", name, "--kind", kind)
    assert shown.returncode == 0, shown.stderr
    assert name in shown.stdout


def test_a_teacher_of_another_package_is_checked_as_others_are(outside):
    def mistake(**teacher):
        (outside / "mistake.yaml").write_text(yaml.safe_dump({**SUITE, "teachers": {"name": "wiener", **teacher}}))
        result = command(outside, "run", "mistake.yaml", "--dry-run")
        assert result.returncode == 2
        return result.stderr

    assert "unknown key 'sigma_mx'; did you mean 'sigma_max'?" in mistake(sigma_mx=3)
    kinds = "'checkpoint', 'exact', 'module', 'pipeline', 'pretrain', 'shipped', 'wiener'"
    assert f"'name' must be one of {kinds}" in mistake(name="weiner")


def test_images_of_another_package_are_scored_by_their_own_classifier(tmp_path):
    sources = {"tiles": plugins.IMAGES, "tiles_spec": plugins.IMAGES_SPEC, "tiles_recipe": plugins.RECIPE}
    points = {"fewstep.datasets": {"tiles": "tiles_spec:SPEC"}, "fewstep.metrics": {"fd": "distance:FD_TILES"}}
    plugins.install(tmp_path, "tiles", {**sources, "distance": plugins.DISTANCE}, points)
    changes = {
        "datasets": "tiles",
        "teachers": {"name": "exact"},
        "methods": [{"name": "euler"}],
        "metrics": ["rmse", "recall", "fd_tiles"],
    }
    suite = {**SUITE, **changes}
    (tmp_path / "tiles.yaml").write_text(yaml.safe_dump(suite))
    result = command(tmp_path, "run", "tiles.yaml", "--out", "out", "--workers", "1")
    assert result.returncode == 0, result.stderr
    found = {row["metric"]: row for row in rows(tmp_path / "out")}
    assert {row["status"] for row in found.values()} == {"done"}
    assert found["fd_tiles"]["protocol"].startswith("fd_tiles/tiles-classifier@")


@pytest.mark.parametrize("kind", GROUPS)
def test_a_name_that_is_taken_and_a_broken_entry_point_are_one_line(tmp_path, kind):
    value, taken = GROUPS[kind]
    module = value.partition(":")[0]
    own = value.partition("_")[0].partition(":")[0]
    source = modules()[module].replace(f'"{own}"', f'"{taken}"')
    sources = {**modules(), module: source}
    for number, (point, reason) in enumerate(
        [(value, f"the name '{taken}' is taken by"), ("nowhere:SPEC", "nowhere:SPEC cannot be loaded")]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        plugins.install(folder, "breaks-it", sources, {f"fewstep.{kind}": {"mine": point}})
        for arguments in (["list", kind], ["run", "quickstart", "--dry-run"]):
            result = command(folder, *arguments)
            assert result.returncode == 2, result.stderr
            assert result.stderr.startswith("fewstep: entry point 'mine' of package breaks-it: ")
            assert reason in result.stderr
            assert len(result.stderr.splitlines()) == 1


INSIDE = {
    "nudge": ("methods.distillation", "methods/specs"),
    "midway": ("methods.solvers", "methods/specs"),
    "spokes": ("datasets", "datasets/specs"),
    "wiener": ("methods.teachers", "methods/specs/teachers"),
}
"""The package of the formulas, and the folder of the spec."""


def test_files_inside_are_found_without_touching_any_other(tmp_path):
    copy = tmp_path / "fewstep"
    for room in ("bench", "datasets", "methods", "reports"):
        shutil.copytree(HOUSE / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOUSE / "__init__.py", copy)
    before = {file: file.read_bytes() for file in copy.rglob("*.py")}
    (copy / "bench" / "metrics" / "named" / "worst.py").write_text(plugins.METRIC)
    for name, (package, specs) in INSIDE.items():
        formulas, spec = PAIRS[name]
        (copy / package.replace(".", "/") / f"{name}.py").write_text(formulas)
        (copy / specs / f"{name}.py").write_text(spec.format(formulas=f"fewstep.{package}.{name}"))
    for kind, name in ADDED.items():
        shown = command(tmp_path, "show", name, "--kind", kind)
        assert shown.returncode == 0, shown.stderr
        assert name in shown.stdout
    assert all(file.read_bytes() == content for file, content in before.items())
    assert len(list(copy.rglob("*.py"))) == len(before) + 1 + 2 * len(INSIDE)
    (tmp_path / "inside.yaml").write_text(yaml.safe_dump(SUITE))
    planned = command(tmp_path, "run", "inside.yaml", "--dry-run")
    assert "3 cells, 9 tasks, 9 to do" in planned.stdout, planned.stderr
