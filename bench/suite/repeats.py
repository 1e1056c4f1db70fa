"""Rules about what appears twice: equal entries would be computed, and shown, twice or not at all. No torch."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from .document import Location, shortened
from .fits import Complaint, entries
from .schema import Suite


def entries_differ(suite: Suite) -> Iterator[Complaint]:
    """Datasets, seeds, NFEs, metrics, budgets and trials: equal once they are read, however they are written."""
    for key in ("datasets", "metrics", "seeds", "nfe"):
        yield from _twice((key,), getattr(suite, key), lambda value: value)
    yield from _twice(("budgets",), suite.budgets, lambda budget: budget.label())
    for where, entry in entries(suite):
        yield from _twice((*where, "nfe"), entry.nfe or (), lambda value: value)
        yield from _twice((*where, "budgets"), entry.budgets or (), lambda budget: budget.label())
        trials = [options.model_dump_json() for options in entry.trials()] if entry.tune is not None else []
        yield from _twice((*where, "tune", "trials"), trials, lambda dumped: dumped, "the same options")


def _twice(
    place: Location, values: Iterable[Any], key: Callable[[Any], Hashable], what: str = ""
) -> Iterator[Complaint]:
    seen: dict[Hashable, int] = {}
    for i, value in enumerate(values):
        if (j := seen.setdefault(key(value), i)) < i:
            yield (*place, i), f"{what or shortened(str(key(value)))} appears twice", (*place, j)


def rows_are_told_apart(suite: Suite) -> Iterator[Complaint]:
    """Rows of a table by method and variant, tables by teacher: a name twice would hide a result."""
    rows: dict[tuple[str, str], int] = {}
    for i, entry in enumerate(suite.methods):
        if (j := rows.setdefault((entry.name, entry.label()), i)) < i:
            same = entry.checked() == suite.methods[j].checked()
            how = "with the same options" if same else f"as {shortened(repr(entry.label()))}"
            yield (
                ("methods", i, "name"),
                f"{entry.name} appears twice {how}; give one of them a variant",
                ("methods", j),
            )
    labels: dict[str, int] = {}
    for i, teacher in enumerate(suite.teachers):
        if (j := labels.setdefault(teacher.shown(), i)) < i:
            equal = teacher == suite.teachers[j]
            advice = "leave one of them out" if equal else "give one of them a label"
            yield ("teachers", i), f"{teacher.shown()!r} appears twice; {advice}", ("teachers", j)
