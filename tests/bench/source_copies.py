"""A copy of the package whose files a test may change: source versions are then taken of the copy."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import fewstep
from fewstep.bench.plan import code, source_version

HOUSE = Path(fewstep.__file__).parent
ROOMS = ("bench", "datasets", "methods", "reports")


def use(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all source versions of the copy; undo monkeypatch and `forget` afterwards."""
    found = source_version._folders
    monkeypatch.setattr(source_version, "_folders", lambda root: (copy,) if root == "fewstep" else found(root))
    forget()


def forget() -> None:
    """Let the next version be taken of the files as they are then."""
    for module in (source_version, code):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def copied(target: Path) -> Path:
    """The sources of the whole package below `target`, at the place that imports would look for them."""
    for file in (HOUSE / "__init__.py", *(f for room in ROOMS for f in (HOUSE / room).rglob("*.py"))):
        copy = target / file.relative_to(HOUSE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return target


def rewritten(folder: Path, change: Callable[[ast.Module], ast.AST]) -> None:
    """Every module of the folder after `change`; comments and layout go with it."""
    for file in folder.rglob("*.py"):
        file.write_text(ast.unparse(change(ast.parse(file.read_text(encoding="utf-8")))), encoding="utf-8")


def bump(file: Path, function: str = "") -> None:
    """Add 1 to the first number in that function, or to the last in the file."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    tree: ast.AST = ast.parse("".join(lines))
    if function:
        tree = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function)
    numbers = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and type(n.value) in (int, float)]
    numbers.sort(key=lambda n: (n.lineno, n.col_offset), reverse=not function)
    number = numbers[0]
    line = lines[number.lineno - 1].encode()
    changed = line[: number.col_offset] + repr(number.value + 1).encode() + line[number.end_col_offset :]
    lines[number.lineno - 1] = changed.decode()
    file.write_text("".join(lines), encoding="utf-8")
