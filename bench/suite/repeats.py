"""Rules about what appears twice: equal entries would be computed, and shown, twice or not at all. No torch."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from ...datasets.registry import DATASETS
from .document import Location, shortened
from .fits import Complaint, entries
from .pairs import datasets
from .schema import Suite


def entries_differ(suite: Suite) -> Iterator[Complaint]:
    """Datasets, seeds, NFEs, metrics, budgets and trials: equal once they are read, however they are written."""
    for key in ("datasets", "metrics", "seeds", "nfe"):
        yield from _twice((key,), getattr(suite, key))
    yield from _twice(("budgets",), [budget.label() for budget in suite.budgets])
    for where, entry in entries(suite):
        yield from _twice((*where, "nfe"), entry.nfe or [])
        yield from _twice((*where, "budgets"), [budget.label() for budget in entry.budgets or []])
        if entry.tune is not None:
            read = [options.model_dump_json() for options in entry.trials()]
            yield from _twice((*where, "tune", "trials"), entry.tune.trials, read)


def _twice(place: Location, shown: Sequence[Any], read: Sequence[Hashable] | None = None) -> Iterator[Complaint]:
    """A complaint for each value that one before it equals. read: what is compared, where that is not what is shown."""
    seen: dict[Hashable, int] = {}
    for i, value in enumerate(shown if read is None else read):
        if (j := seen.setdefault(value, i)) < i:
            yield (*place, i), f"{shortened(str(shown[i]))} appears twice", (*place, j)


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
    if not suite.problems:
        yield from _teachers_are_told_apart(suite)


def _teachers_are_told_apart(suite: Suite) -> Iterator[Complaint]:
    labels: dict[str, int] = {}
    for i, teacher in enumerate(suite.teachers):
        if (j := labels.setdefault(teacher.shown(), i)) < i:
            equal = teacher == suite.teachers[j]
            advice = "leave one of them out" if equal else "give one of them a label"
            yield ("teachers", i), f"{teacher.shown()!r} appears twice; {advice}", ("teachers", j)


def problems_are_told_apart(suite: Suite) -> Iterator[Complaint]:
    """By data set and teacher, as tables show them. A person's own images are called by their folder, which another
    data set may be called too.
    """
    names: dict[str, str] = {}
    for place, name in datasets(suite):
        shown = DATASETS[name].shown
        if names.setdefault(shown, name) != name or (shown in DATASETS and shown != name):
            yield place, f"tables call another data set {shown!r} too; rename the folder"
    known: dict[tuple[str, str], int] = {}
    for i, problem in enumerate(suite.problems):
        key = (problem.dataset, problem.teacher.shown())
        if (j := known.setdefault(key, i)) < i:
            equal = problem.teacher == suite.problems[j].teacher
            advice = "leave one of them out" if equal else "give one of the teachers a label"
            yield ("problems", i), f"{key[1]!r} on {key[0]} appears twice; {advice}", ("problems", j)
