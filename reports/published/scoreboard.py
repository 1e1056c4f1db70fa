"""Scoreboards: what papers print of few-step sampling on one data set. Nothing of it is run or ranked here."""

import itertools
import re
from collections.abc import Iterable, Sequence

from ..tables import Cell, Group, Table
from .collection import Row, collection

SCOREBOARDS = {"scoreboard-cifar10": "CIFAR-10", "scoreboard-imagenet64": "ImageNet-64"}
"""Name -> the data set, as papers call it."""
MOST = 4
"""Evaluations of a few-step sampler."""
FREE = {"y": "without real images", "n": "with real images", "": "solvers, and rows whose data are not stated"}
"""In the order of the groups."""
TEACHERS = (
    ("EDM or EDM2", re.compile("EDM ?/ ?EDM2")),
    ("EDM2", re.compile("EDM2")),
    ("EDM", re.compile("edm", re.IGNORECASE)),
    ("progressive distillation's networks", re.compile("^PD ")),
    ("no teacher", re.compile("^none")),
)
"""Of what papers call a teacher, whose network it is: the first that fits."""
OTHER, UNSTATED = "other teachers", "teacher not stated"


def rows(dataset: str) -> list[Row]:
    """The FIDs on the data set at 1 to MOST evaluations."""
    found = [row for row in collection() if (row.dataset, row.metric) == (dataset, "FID")]
    return [row for row in found if row.nfe and int(row.nfe) <= MOST]


def table(dataset: str, chosen: Sequence[Row] | None = None) -> Table:
    """The chosen of `rows`, by default all, by whether they need data and by teacher. In each group the verified come
    first, the best of these before others.

    ValueError where there are none.
    """
    shown = rows(dataset) if chosen is None else chosen
    if not shown:
        raise ValueError(f"no published FID on {dataset!r} at {MOST} evaluations or fewer")
    nfes = sorted({row.nfe for row in shown}, key=int)
    groups = [Group(": ".join(names), _lines(own, nfes)) for names, own in _grouped(shown).items()]
    columns = ["method", "labels", "paper", *(f"NFE {nfe}" for nfe in nfes)]
    return Table(f"FID on {dataset}, as published", columns, groups, _notes(shown), left=3, key=(dataset, "FID"))


def _grouped(shown: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for free, teacher in itertools.product(FREE, (*(name for name, _ in TEACHERS), OTHER, UNSTATED)):
        own = [row for row in shown if row.data_free == free and whose(row.teacher) == teacher]
        if own:
            found[FREE[free], teacher] = sorted(own, key=lambda row: (row.recalled, int(row.nfe), row.number))
    return found


def _notes(shown: Sequence[Row]) -> list[str]:
    elsewhere = any(row.read_in == "secondary" for row in shown)
    return [
        "each paper's own teacher, training budget and FID code: not one competition",
        *(["* read in a digest or another paper"] if elsewhere else []),
        *(
            ["in brackets: remembered, read in no source, and compared with nothing"]
            if any(r.recalled for r in shown)
            else []
        ),
        "papers by their key in leaderboards/published.csv, which has each number's table and teacher",
    ]


def whose(teacher: str) -> str:
    """Whose network a teacher is, as far as its name says."""
    found = (name for name, pattern in TEACHERS if pattern.search(teacher))
    return next(found, OTHER if teacher else UNSTATED)


def _lines(own: Iterable[Row], nfes: Sequence[str]) -> list[list[Cell]]:
    """A line for each method of a paper and teacher: what its tables say at each NFE."""
    lines: dict[tuple[str, ...], dict[str, list[Row]]] = {}
    for row in own:
        where = row.paper_key + "*" * (row.read_in == "secondary")
        place = (row.method, row.solver_or_variant, row.conditioning, where, row.teacher, row.paper_table)
        lines.setdefault(place, {}).setdefault(row.nfe, []).append(row)
    return [
        [Cell(method, detail), Cell(labels), Cell(where), *(_value(found.get(nfe, ())) for nfe in nfes)]
        for (method, detail, labels, where, *_), found in lines.items()
    ]


def _value(found: Sequence[Row]) -> Cell:
    texts = dict.fromkeys(f"({row.shown})" if row.recalled else row.shown for row in found)
    return Cell(" / ".join(texts), muted=bool(found) and all(row.recalled for row in found))
