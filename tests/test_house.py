"""The house itself: one package, loaded once, lazily, with its parts where they belong."""

import ast
import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fewstep

ROOT = Path(fewstep.__file__).parent
SOURCES = [path for part in ("methods", "datasets", "bench", "reports") for path in sorted((ROOT / part).rglob("*.py"))]


def test_the_package_list_is_the_tree():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {"fewstep"}
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


@pytest.mark.parametrize(
    ("floor", "forbidden"),
    [
        ("methods", ("bench", "reports")),
        ("datasets", ("bench", "reports")),
        ("reports", ("methods", "datasets", "bench")),
    ],
)
def test_each_floor_knows_only_what_it_may(floor, forbidden):
    for path in (ROOT / floor).rglob("*.py"):
        depth = len(path.relative_to(ROOT).parts) - 1
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level > depth:
                assert (node.module or "").partition(".")[0] not in forbidden, f"{path}: {node.module}"


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


def test_files_and_functions_are_short():
    for path in SOURCES:
        text = path.read_text()
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 60, f"{path}: {node.name}"
