"""A module's syntax tree without what cannot change a number. No torch."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

PROSE = frozenset({"summary", "description", "display", "licence", "papers", "url"})
"""Keyword arguments that people alone read. They count only where their values are not plain text."""
LOGGERS = frozenset({"log", "logger", "logging", "warnings"})
LOGGED = frozenset({"debug", "info", "warning", "error", "exception", "critical", "warn"})
FACTS = frozenset({"__all__", "__version__", "__author__"})


@dataclass(frozen=True)
class Import:
    """`from module import name as bound`, with `level` dots; name "" is `import module`."""

    module: str
    name: str
    bound: str
    level: int = 0


@dataclass(frozen=True)
class Reduced:
    """imports: all that are left; typed: those under TYPE_CHECKING; solvers: the names in calls of solvers.get."""

    tree: ast.Module
    imports: tuple[Import, ...]
    typed: tuple[Import, ...]
    solvers: tuple[str, ...]


def reduced(tree: ast.Module) -> Reduced:
    """The tree, changed in place: source_version says what is left out. Imports at the top level are sorted."""
    reducer = _Reducer()
    tree = reducer.visit(tree)
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    rest = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    inner = [node for node in reducer.imports if node not in top]
    unused = reducer.dropped - reducer.names
    kept = sorted((one for node in top for one in _each(node) if _bound(one) not in unused), key=ast.dump)
    tree.body = [*kept, *rest]
    imports = (found for node in (*kept, *inner) for found in _imported(node))
    return Reduced(tree, tuple(imports), tuple(reducer.typed), tuple(reducer.solvers))


class _Reducer(ast.NodeTransformer):
    """names, imports, solvers: what is left has these; dropped: the names in what is left out; typed: see Reduced."""

    def __init__(self) -> None:
        self.in_class = False
        self.names: set[str] = set()
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.solvers: list[str] = []
        self.dropped: set[str] = set()
        self.typed: list[Import] = []

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.names.add(node.id)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        self.imports.append(node)
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        self.imports.append(node)
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node, in_class=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        # A decorator may read annotations, as singledispatch does.
        if not node.decorator_list:
            self._drop(node.returns)
            node.returns, given = None, node.args
            for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
                if argument is not None:
                    self._drop(argument.annotation)
                    argument.annotation = None
        return self._inside(node, in_class=False)

    def _inside(self, node: ast.AST, in_class: bool) -> ast.AST:
        outside, self.in_class = self.in_class, in_class
        node = self.generic_visit(node)
        self.in_class = outside
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if self.in_class:
            return self.generic_visit(node)
        self._drop(node.annotation)
        return None if node.value is None else self.generic_visit(ast.Assign([node.target], node.value, lineno=0))

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        return None if names & FACTS else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.AST]:
        if not _checks_types(node.test):
            return self.generic_visit(node)
        self.typed += [found for part in node.body if isinstance(part, ast.ImportFrom) for found in _imported(part)]
        kept = (self.visit(statement) for statement in node.orelse)
        return [part for found in kept for part in (found if isinstance(found, list) else [found]) if part is not None]

    def visit_Pass(self, node: ast.Pass) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        if isinstance(node.value, ast.Constant) or _is_text(node.value) or _logs(node.value):
            self._drop(node.value)
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args = [argument for argument in node.exc.args if not self._drops(argument)]
            node.exc.keywords = [keyword for keyword in node.exc.keywords if not self._drops(keyword.value)]
        return self.generic_visit(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self._drop(node.msg)
        node.msg = None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.solvers += _solver(node)
        node.keywords = [k for k in node.keywords if k.arg not in PROSE or not self._drops(k.value)]
        return self.generic_visit(node)

    def _drops(self, node: ast.AST) -> bool:
        """Whether it is plain text, which is left out."""
        if not _is_text(node):
            return False
        self._drop(node)
        return True

    def _drop(self, node: ast.AST | None) -> None:
        if node is not None:
            self.dropped |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _is_text(node: ast.AST) -> bool:
    """Strings, f-strings, sums, tuples and lists of them."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add) and _is_text(node.left) and _is_text(node.right)
    if isinstance(node, ast.Tuple | ast.List):
        return all(map(_is_text, node.elts))
    return isinstance(node, ast.JoinedStr)


def _logs(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOGGED
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in LOGGERS
    )


def _checks_types(test: ast.expr) -> bool:
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"


def _imported(node: ast.Import | ast.ImportFrom) -> list[Import]:
    if isinstance(node, ast.ImportFrom):
        return [Import(node.module or "", a.name, a.asname or a.name, node.level) for a in node.names]
    return [Import(a.name, "", a.asname or a.name) for a in node.names]


def _solver(call: ast.Call) -> list[str]:
    """The name in `solvers.get("name")`."""
    found = call.func
    if not (isinstance(found, ast.Attribute) and found.attr == "get" and getattr(found.value, "id", "") == "solvers"):
        return []
    return [a.value for a in call.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]


def _each(node: ast.Import | ast.ImportFrom) -> Iterator[ast.Import | ast.ImportFrom]:
    """The statement, one for each name."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield ast.ImportFrom(node.module, [alias], node.level)
        else:
            yield ast.Import([alias])


def _bound(node: ast.Import | ast.ImportFrom) -> str:
    """The name that the statement binds: for `import a.b` that is a."""
    alias = node.names[0]
    return alias.asname or alias.name.partition(".")[0]
