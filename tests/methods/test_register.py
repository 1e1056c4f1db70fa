"""Built-in entries and those of installed packages: one register, and one line for a package that breaks it."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from fewstep.methods import registry
from fewstep.methods.register import Register, RegisterError, UnknownNameError


def built_in():
    return [SimpleNamespace(name="red"), SimpleNamespace(name="blue")]


def colours():
    return Register("colour", "test.colours", built_in, of=SimpleNamespace)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make a package of one module importable, with entry points as pip would record them: {group: {name: value}}."""

    def install(package, source, **groups):
        module = package.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        facts = tmp_path / f"{module}-0.1.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
        lines = [
            [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())] for group, points in groups.items()
        ]
        (facts / "entry_points.txt").write_text("\n".join(line for group in lines for line in group))
        return tmp_path

    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield install
    for name in set(sys.modules) - before:
        if name.endswith("_pack") or name.startswith("pack_"):
            del sys.modules[name]


COLOUR = "from types import SimpleNamespace\nGREEN = SimpleNamespace(name={!r})\n"


def test_built_in_entries_come_first_and_plugins_after(install):
    install("colour-pack", COLOUR.format("green"), **{"test.colours": {"any": "colour_pack:GREEN"}})
    register = colours()
    assert list(register) == ["red", "blue", "green"]
    assert register["green"] == register.pick("green") == SimpleNamespace(name="green")
    assert len(register) == 3


def test_plugins_are_loaded_on_first_use(install):
    register = colours()
    install("late-pack", COLOUR.format("late"), **{"test.colours": {"any": "late_pack:GREEN"}})
    assert "late" in register


def test_a_built_in_name_is_taken(install):
    install("red-pack", COLOUR.format("red"), **{"test.colours": {"mine": "red_pack:GREEN"}})
    with pytest.raises(RegisterError) as error:
        list(colours())
    assert str(error.value) == "entry point 'mine' of package red-pack: the name 'red' is taken by fewstep itself"


def test_the_name_of_another_plugin_is_taken(install):
    install("pack-a", COLOUR.format("green"), **{"test.colours": {"one": "pack_a:GREEN"}})
    install("pack-b", COLOUR.format("green"), **{"test.colours": {"two": "pack_b:GREEN"}})
    with pytest.raises(RegisterError, match="the name 'green' is taken by entry point") as error:
        list(colours())
    assert {"pack-a", "pack-b"} <= set(str(error.value).replace(":", "").split())


@pytest.mark.parametrize(
    ("source", "value", "reason"),
    [
        ("import nowhere_to_be_found", "broken_pack:X", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("X = 1", "broken_pack:Y", "cannot be loaded: AttributeError"),
        ("raise RuntimeError('two\\nlines')", "broken_pack:X", "cannot be loaded: RuntimeError: two lines"),
        ("X = 'red'", "broken_pack:X", "broken_pack:X is of type str, and must be a SimpleNamespace"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_line_with_its_package(install, source, value, reason):
    install("broken-pack", source, **{"test.colours": {"x": value}})
    with pytest.raises(RegisterError) as error:
        list(colours())
    assert str(error.value).startswith("entry point 'x' of package broken-pack: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_further_groups_have_types_of_their_own(install):
    install("pair-pack", COLOUR.format("green"), **{"test.shades": {"x": "pair_pack:GREEN"}})
    assert "green" in Register("colour", "test.colours", built_in, also={"test.shades": SimpleNamespace})
    with pytest.raises(RegisterError, match="is of type SimpleNamespace, and must be a Path"):
        list(Register("colour", "test.colours", built_in, also={"test.shades": Path}))


def test_an_unknown_name_suggests_the_nearest_and_an_absent_package():
    with pytest.raises(UnknownNameError, match=r"unknown colour 'bleu'; did you mean 'blue'\? .*package installed"):
        colours().pick("bleu")
    with pytest.raises(UnknownNameError, match=r"unknown method 'eulr'; did you mean 'euler'\?"):
        registry.method("eulr")


SOLVER = """
from itertools import pairwise

from fewstep.methods.specs.solver import SolverOptions, SolverSpec


def solve(run, x):
    for t, s in pairwise(run.nodes):
        eps = (x - t.alpha * run.x0(x, t)) / t.sigma
        x = s.alpha / t.alpha * x + (s.sigma - s.alpha / t.alpha * t.sigma) * eps
    return x


SPEC = SolverSpec(name="mine", target="solver_pack:solve", options=SolverOptions, summary="Euler once more")
"""


def python(folder, *arguments):
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def fewstep(folder, *arguments):
    return python(folder, "-c", "from fewstep.bench.cli import main; main()", *arguments)


def test_a_solver_of_another_package_stands_in_a_suite(install):
    folder = install("solver-pack", SOLVER, **{"fewstep.solvers": {"mine": "solver_pack:SPEC"}})
    suite = {
        "name": "plugged",
        "datasets": "mixture-2d",
        "teachers": {"name": "exact"},
        "budgets": {"evaluations": 1000},
        "nfe": [4],
        "samples": 50,
        "truth": {"samples": 50},
        "metrics": "rmse",
        "methods": [{"name": "euler"}, {"name": "mine"}],
        "device": "cpu",
    }
    (folder / "plugged.yaml").write_text(yaml.safe_dump(suite))
    result = fewstep(folder, "run", "plugged.yaml", "--out", "out")
    assert result.returncode == 0, result.stderr
    lines = [line.split(",") for line in (folder / "out" / "results.csv").read_text().splitlines()]
    values = {
        row["method"]: float(row["value"]) for row in (dict(zip(lines[0], line, strict=True)) for line in lines[1:])
    }
    assert values["mine"] == pytest.approx(values["euler"], rel=1e-5)
    assert "mine" in fewstep(folder, "list", "solvers").stdout


@pytest.mark.parametrize("group", ["fewstep.solvers", "fewstep.methods"])
def test_a_solver_of_another_package_is_found_by_name(install, group):
    folder = install("solver-pack", SOLVER, **{group: {"mine": "solver_pack:SPEC"}})
    code = (
        "from fewstep.methods import registry, solvers\n"
        "assert 'mine' in solvers.names() and solvers.get('mine', grid={'end': 'min'}).steps(3) == 3\n"
        "assert registry.method('mine').refusal(3) is None and registry.method('mine').kind == 'solver'\n"
    )
    result = python(folder, "-c", code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("source", "group", "message"),
    [
        (SOLVER.replace('"mine"', '"euler"'), "fewstep.solvers", "the name 'euler' is taken by fewstep itself"),
        ("SPEC = 3", "fewstep.methods", "solver_pack:SPEC is of type int, and must be a MethodSpec"),
        ("import nowhere_to_be_found", "fewstep.solvers", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_the_command_line_names_a_package_that_breaks_it_in_one_line(install, source, group, message):
    folder = install("solver-pack", source, **{group: {"mine": "solver_pack:SPEC"}})
    for arguments in (["list", "methods"], ["run", "quickstart", "--dry-run"]):
        result = fewstep(folder, *arguments)
        assert result.returncode == 2, result.stderr
        assert "entry point 'mine' of package solver-pack: " in result.stderr
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
