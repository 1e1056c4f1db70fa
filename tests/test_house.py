"""The house itself: one package, loaded once, lazily, with its parts where they belong."""

import ast
import importlib.util
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fewstep

ROOT = Path(fewstep.__file__).parent
SOURCES = [path for part in ("methods", "datasets", "bench", "reports") for path in sorted((ROOT / part).rglob("*.py"))]


def test_the_package_list_is_the_tree():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"fewstep", "fewstep.leaderboards"}
    for path in SOURCES:
        if path.name == "__init__.py":
            found.add(".".join(["fewstep", *path.parent.relative_to(ROOT).parts]))
    assert listed == found


def test_only_the_name_fewstep_is_claimed():
    """Folders named datasets or bench must not shadow other libraries' modules."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {name.partition(".")[0] for name in listed} == {"fewstep"}


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, fewstep; assert not [m for m in sys.modules if m.startswith(('fewstep.', 'torch'))]"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_root_under_another_name_loads_no_second_house():
    """pytest also imports the root's __init__ under the name of the checkout's folder."""
    spec = importlib.util.spec_from_file_location("some_checkout", ROOT / "__init__.py")
    before = set(sys.modules)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(sys.modules) == before


def test_public_names_are_there():
    for name in dir(fewstep):
        assert getattr(fewstep, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fewstep.nothing  # noqa: B018


GROUND = ("missing", "options", "portable", "randomness", "register", "text_encoder", "unpickling")
"""The modules of methods that data sets and reports may use: they know nothing of methods."""

FLOORS = {
    "methods": set(),
    "datasets": {"methods"},
    "reports": {"methods"},
    "bench": {"methods", "datasets", "reports"},
}

ROOMS = ("commands", "benchmarks", "results", "run", "stages", "plan", "suite", "training", "metrics")
"""The rooms of bench from top to bottom: a room may import from those below it, and from the files beside them."""
FILES = ("cli", "conformance", "store", "published_files", "machine", "errors")


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules of the package that a file imports, as parts below the root."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*package[: len(package) - node.level + 1], *filter(None, (node.module or "").split(".")))
            yield from ((*base, alias.name) for alias in node.names)


@pytest.mark.parametrize("floor", FLOORS)
def test_each_floor_knows_only_what_it_may(floor):
    for path in (ROOT / floor).rglob("*.py"):
        others = {target[0] for target in imports(path) if target[0] in FLOORS} - {floor}
        assert others <= FLOORS[floor], f"{path}: {others}"


@pytest.mark.parametrize("floor", ["datasets", "reports"])
def test_data_sets_and_reports_use_no_method(floor):
    for path in (ROOT / floor).rglob("*.py"):
        for target in imports(path):
            assert target[0] != "methods" or target[1] in GROUND, f"{path}: {target}"


def test_bench_has_at_most_nine_rooms_and_each_says_what_is_inside():
    rooms = [path for path in (ROOT / "bench").iterdir() if (path / "__init__.py").is_file()]
    assert {room.name for room in rooms} == set(ROOMS)
    assert len(rooms) <= 9
    for room in rooms:
        assert ast.get_docstring(ast.parse((room / "__init__.py").read_text())), room


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_inside_bench_point_down(room):
    below = {*ROOMS[ROOMS.index(room) :], *FILES}
    for path in (ROOT / "bench" / room).rglob("*.py"):
        targets = {target[1] for target in imports(path) if target[0] == "bench"}
        assert targets <= below, f"{path}: {targets - below}"


def test_the_rooms_import_one_another_without_a_cycle():
    arrows: dict[str, set[str]] = {}
    for path in (ROOT / "bench").rglob("*.py"):
        here = path.relative_to(ROOT / "bench").with_suffix("").parts[0]
        arrows.setdefault(here, set()).update(t[1] for t in imports(path) if t[:1] == ("bench",) and t[1] != here)
    TopologicalSorter(arrows).prepare()


def test_no_library_code_prints():
    for path in SOURCES:
        if path.parts[-2:] in (("run", "worker.py"), ("run", "progress.py")) or path.parts[-2] == "benchmarks":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"), path


def test_nothing_is_unpickled_but_what_a_list_names():
    for path in SOURCES:
        text = path.read_text()
        assert "import pickle" not in text or path.name == "unpickling.py", path
        assert "pickle.load" not in text, path
        for call in text.split("torch.load(")[1:]:
            assert "weights_only=True" in call.split(")")[0], path


READ = r"\.(startswith|endswith|removeprefix|removesuffix|r?partition)"
STATES = r"(skipped|missing|failed|diverged|out of|stale|get it)"
SENTENCES = re.compile(rf"{READ}\(\W*{STATES}")


def test_no_module_parses_a_sentence_that_another_wrote():
    for path in SOURCES:
        assert not SENTENCES.search(path.read_text()), path


BRANCHES = (ast.If, ast.IfExp, ast.For, ast.While, ast.ExceptHandler, ast.Assert, ast.comprehension, ast.match_case)


def complexity(function: ast.AST) -> int:
    """McCabe's number: one more than the decisions, those of functions inside included."""
    found = 1
    for node in ast.walk(function):
        found += isinstance(node, BRANCHES)
        found += len(node.ifs) if isinstance(node, ast.comprehension) else 0
        found += len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0
    return found


def test_files_and_functions_are_short_and_simple():
    lengths = []
    for path in SOURCES:
        text = path.read_text()
        lengths.append(text.count("\n"))
        assert lengths[-1] <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 60, f"{path}: {node.name}"
                assert complexity(node) <= 15, f"{path}: {node.name}"
    assert statistics.median(lengths) <= 100
