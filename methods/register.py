"""What is looked up by name: built-in entries, and those that installed packages announce. No torch."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


class UnknownNameError(ValueError):
    """A name that no register holds; the message lists the nearest."""


class RegisterError(ValueError):
    """An installed package announces something that cannot be used; the message names the package."""


class Register(Mapping[str, T]):
    """Everything of one kind by name: the built-in entries, then those of installed packages.

    kind: what messages call an entry, such as "method".
    group: the entry point group in which a package announces an entry, an object with a `name`.
    built_in(): the entries that come with fewstep, in order.
    of: the type that an entry must have.
    also: further groups, each with the type of its entries.
    All are loaded on first use, which raises RegisterError for a package whose entry cannot be imported, has the
    wrong type, or takes a name that is taken.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        built_in: Callable[[], Iterable[T]],
        of: type = object,
        also: Mapping[str, type] | None = None,
    ) -> None:
        self.kind = kind
        self.groups: dict[str, type] = {group: of, **(also or {})}
        self._built_in = built_in

    @cached_property
    def entries(self) -> dict[str, T]:
        """The entries by name."""
        found: dict[str, T] = {}
        owners: dict[str, str] = {}
        for entry in self._built_in():
            _add(found, owners, entry, "fewstep itself")
        for group, kind in self.groups.items():
            for point in entry_points(group=group):
                _add(found, owners, _loaded(point, kind), _owner(point))
        return found

    def pick(self, name: str) -> T:
        """The entry of that name; UnknownNameError names the nearest."""
        if name in self.entries:
            return self.entries[name]
        hint = f"(a {self.kind} of another package needs that package installed)"
        raise UnknownNameError(f"unknown {self.kind} {name!r}{did_you_mean(name, self)} {hint}")

    def __getitem__(self, name: str) -> T:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def _add(found: dict[str, T], owners: dict[str, str], entry: T, owner: str) -> None:
    name: str = entry.name  # type: ignore[attr-defined]
    if name in found:
        raise RegisterError(f"{owner}: the name {name!r} is taken by {owners[name]}")
    found[name], owners[name] = entry, owner


def _owner(point: EntryPoint) -> str:
    package = point.dist.name if point.dist is not None else "?"
    return f"entry point {point.name!r} of package {package}"


def _loaded(point: EntryPoint, kind: type) -> Any:
    """The object behind an entry point; RegisterError unless it can be imported and is of that kind with a name."""
    try:
        entry = point.load()
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise RegisterError(f"{_owner(point)}: {point.value} cannot be loaded: {why}") from error
    if not isinstance(entry, kind) or not isinstance(getattr(entry, "name", None), str):
        wanted = "an object with a name" if kind is object else f"a {kind.__name__}"
        raise RegisterError(f"{_owner(point)}: {point.value} is a {type(entry).__name__}, and must be {wanted}")
    return entry


def announced(package: ModuleType) -> Iterator[Any]:
    """What the modules of a package announce as SPEC or SPECS, by the modules' names; other modules have neither."""
    for info in sorted(iter_modules(package.__path__), key=lambda info: info.name):
        module = import_module(f"{package.__name__}.{info.name}")
        yield from getattr(module, "SPECS", ())
        if hasattr(module, "SPEC"):
            yield module.SPEC


def pick(known: Mapping[str, T], name: str, kind: str) -> T:
    """known[name], or an error that names the nearest known one."""
    if name in known:
        return known[name]
    raise UnknownNameError(f"unknown {kind} {name!r}{did_you_mean(name, known)}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that names the nearest known name, or all of them where none is near."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; one of {', '.join(known)}"
