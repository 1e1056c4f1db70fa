"""The source version of a result: a hash of the code that determines it. No torch.

Each kind of task names the modules it starts from; what those import from their own package belongs to
the version too. Comments and layout do not: the hash is of the syntax tree.
"""

import ast
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = __package__.partition(".")[0]

# What these hold reaches a result only through a task's parameters, or not at all: they are not code
# that a result depends on. Without this list a new method's options would outdate every artifact.
NEUTRAL = {
    f"{PACKAGE}.{name}"
    for name in (
        "methods.options",
        "methods.registry",
        "datasets.registry",
        "bench.errors",
        "bench.store",
        "bench.training.tracking",
        # Who reads a feature network has its artifact among its inputs, and that is keyed by this source.
        "bench.stages.extractor",
    )
}


@cache
def version(*modules: str) -> str:
    """A hash of the named modules and of all that they import from their own package."""
    joined = "\n".join(f"{name} {digest}" for name, digest in sorted(digests(*modules).items()))
    return hashlib.sha256(joined.encode()).hexdigest()[:16]


@cache
def digests(*modules: str) -> dict[str, str]:
    """The hash of each of these modules and of those that they import from their own package, by name."""
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen[module], imported = _read(module)
            waiting += [name for name in imported if name not in NEUTRAL]
    return seen


@cache
def _read(module: str) -> tuple[str, tuple[str, ...]]:
    """(hash of the module's syntax tree, modules of its own package that it imports)."""
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"no source of module {module}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        root = module.partition(".")[0]
        imported += [name for name in names if name.partition(".")[0] == root and _file(name)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16], tuple(dict.fromkeys(imported))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parent = parts[: len(parts) - node.level + 1]
    return ".".join([*parent, node.module] if node.module else parent)


@cache
def _file(module: str) -> Path | None:
    """The module's source file, found without importing it; None if there is none."""
    root, *rest = module.split(".")
    spec = find_spec(root)
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec and spec.origin and not rest else None
    for folder in spec.submodule_search_locations:
        path = Path(folder, *rest)
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if rest and candidate.is_file():
                return candidate
        if not rest and (path / "__init__.py").is_file():
            return path / "__init__.py"
    return None
