"""The source version of a result: a hash of the code that determines it. No torch.

Each task names the modules that it starts from (see `code`). What those import from fewstep or from their own package
belongs to the version too, at any depth, inside functions as well. Only what can change a number counts:

- not docstrings and other free-standing strings, comments, layout; plain text given as one of PROSE; the messages of
  raise, assert, log and warning; `if TYPE_CHECKING`; `__all__` and `__version__`; the order of imports;
- not the annotations of undecorated functions and of variables outside of classes, nor what is imported for these or
  for messages alone. Those in class bodies count, since pydantic and dataclasses read them;
- not a module that says `PART_OF_RESULTS = False`: what it holds reaches a result through a task's parameters or
  inputs, or not at all;
- not an index, that is an `__init__` that only imports names, or finds them by `__getattr__`: it is looked through, to
  the modules of the names that are asked of it, which under `__getattr__` are those under its TYPE_CHECKING.

Everything else counts, an `__init__` that is not an index for each module below it. Data reach a version through
parameters that hold their hash.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ...methods.register import RegisterError
from .reduced import Import, reduced

PACKAGE = __package__.partition(".")[0]


@cache
def version(*modules: str) -> str:
    """A hash of the named modules and of all that they import from fewstep and their own package."""
    joined = "\n".join(f"{name} {digest}" for name, digest in sorted(digests(*modules).items()))
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


@cache
def digests(*modules: str) -> dict[str, str]:
    """The hash of each of these modules and of those that they import, by name. RegisterError for no module."""
    seen: dict[str, str] = {}
    waiting = [module for named in modules for module in (*_parents(named), *_whole(named))]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            source = _read(module)
            if source.part or module in modules:
                seen[module] = source.digest
                waiting += _next(module)
    return seen


@cache
def text_version(*modules: str) -> str:
    """A hash of the whole text of the same modules: for what is shown, where prose counts."""
    files = ((name, _file(name)) for name in sorted(digests(*modules)))
    joined = "\n".join(f"{name} {path.read_text(encoding='utf-8')}" for name, path in files if path is not None)
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


@cache
def looked_up(*modules: str) -> tuple[str, ...]:
    """The names of solvers that the code behind these modules looks up as `solvers.get("name")`."""
    return tuple(sorted({name for module in digests(*modules) for name in _read(module).solvers}))


def exists(module: str) -> bool:
    """Whether the module has a source file. It is not imported."""
    return _file(module) is not None


@dataclass(frozen=True)
class Source:
    """One module. imports: absolute; those under TYPE_CHECKING too, for an index that finds names by `__getattr__`.

    named: the modules that the strings of such an index name. solvers: names that are looked up.
    """

    digest: str
    imports: tuple[Import, ...]
    part: bool
    index: bool
    named: tuple[str, ...]
    solvers: tuple[str, ...]


@cache
def _read(module: str) -> Source:
    path = _file(module)
    if path is None:
        raise RegisterError(f"there is no module {module}: what a plug-in names as its target must be installed")
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = reduced(ast.parse(path.read_text(encoding="utf-8")))
    tree = found.tree
    index = path.name == "__init__.py" and all(map(_of_index, tree.body))
    lazy = index and any(isinstance(node, ast.FunctionDef) for node in tree.body)
    return Source(
        hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16],
        tuple(_absolute(one, package) for one in (*found.imports, *(found.typed if lazy else ()))),
        not any(map(_is_marker, tree.body)),
        index,
        tuple(_submodules(tree, package)) if lazy else (),
        found.solvers,
    )


def _of_index(node: ast.stmt) -> bool:
    """Whether a package that holds only such statements is looked through."""
    if isinstance(node, ast.Assign):
        private = all(isinstance(target, ast.Name) and target.id.startswith("_") for target in node.targets)
        return private and not any(isinstance(part, ast.Call) for part in ast.walk(node.value))
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__getattr__", "__dir__")
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_marker(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "PART_OF_RESULTS" for target in node.targets)
        and isinstance(node.value, ast.Constant)
        and node.value.value is False
    )


def _submodules(tree: ast.Module, package: str) -> Iterator[str]:
    """The modules of the package that strings in the tree name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            name = f"{package}.{node.value.lstrip('.')}"
            if name.replace(".", "").isidentifier() and _file(name) is not None:
                yield name


def _absolute(found: Import, package: str) -> Import:
    if not found.level:
        return found
    parts = package.split(".")
    parent = parts[: len(parts) - found.level + 1]
    return Import(".".join([*parent, found.module] if found.module else parent), found.name, found.bound)


@cache
def _next(module: str) -> tuple[str, ...]:
    """The modules that a module imports, and packages that are run on the way to them."""
    return tuple(dict.fromkeys(name for found in _read(module).imports for name in _reached(found, module)))


def _reached(found: Import, importer: str) -> Iterator[str]:
    """The modules that an import runs and reads from, of fewstep and of the importer's package; no index."""
    module, name = found.module, found.name
    if module.partition(".")[0] not in (PACKAGE, importer.partition(".")[0]) or _file(module) is None:
        return
    yield from _parents(module)
    if name in ("", "*"):
        yield from _whole(module)
        return
    below = f"{module}.{name}"
    if _file(below) is not None:
        yield from _whole(below)
    if not _read(module).index:
        yield module
        return
    exported = [other for other in _read(module).imports if other.bound == name and other != found]
    for other in exported:
        yield from _reached(other, module)
    if not exported and _file(below) is None:
        yield from _whole(module)


def _whole(module: str) -> Iterator[str]:
    """The module, or, of an index, all that it can give."""
    source = _read(module)
    if not source.index:
        yield module
        return
    for found in source.imports:
        if found.module != module:
            yield from _reached(found, module)
    yield from (other for named in source.named for other in _whole(named))


def _parents(module: str) -> Iterator[str]:
    """The packages that are run before the module is, without indexes."""
    parts = module.split(".")
    for depth in range(1, len(parts)):
        package = ".".join(parts[:depth])
        if _file(package) is not None and not _read(package).index:
            yield package


@cache
def _file(module: str) -> Path | None:
    """The module's source file, found without importing it; None if there is none."""
    root, *rest = module.split(".")
    for folder in _folders(root):
        path = Path(folder, *rest)
        for candidate in ((path.with_suffix(".py") if rest else path), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


@cache
def _folders(root: str) -> tuple[Path, ...]:
    """The folders of a package, or the file of a module, at the top level."""
    spec = find_spec(root)
    if spec is None:
        return ()
    if spec.submodule_search_locations is None:
        return (Path(spec.origin),) if spec.origin else ()
    return tuple(map(Path, spec.submodule_search_locations))
