"""Everything that has a name in fewstep, as `list` and `show` tell it. No torch."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.registry import DATASETS
from ...methods.registry import METHODS, TEACHERS, of_kind
from ...methods.specs.base import Kind, MethodSpec
from ..errors import InputError
from ..metrics.extractors import EXTRACTORS
from ..metrics.metric import CLASSIFIER, LAW, LPIPS, PIXELS, SCORER, Metric
from ..metrics.register import METRICS
from ..plan.references import lacking
from ..run.executor import EXECUTORS
from ..suite.loading import SHIPPED, load, shipped_names

HEADINGS: dict[Kind, str] = {
    "solver": "solvers",
    "learned solver": "learned solvers",
    "student": "students",
    "made elsewhere": "rows made elsewhere",
}


@dataclass(frozen=True)
class Entry:
    """One name.

    kind: singular, such as "method". group: the heading under which it is listed, "" where its kind has none.
    papers: keys of methods/papers.bib. facts: what `list --json` says of this kind beside, by a stable key.
    notes: the same for people, in a few words each.
    """

    name: str
    kind: str
    summary: str
    group: str = ""
    display: str = ""
    papers: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """For other programs: the facts on the same level as name, kind, group, display, summary and papers."""
        own = asdict(self)
        del own["facts"], own["notes"]
        return {**own, "display": self.display or self.name, **self.facts}


def _methods(specs: Iterable[MethodSpec]) -> Iterator[Entry]:
    for spec in specs:
        facts = {key: getattr(spec, key) for key in ("trains", "needs_network", "per_nfe", "transfers", "conditional")}
        yield Entry(spec.name, "method", spec.summary, HEADINGS[spec.kind], spec.display, spec.papers, facts)


def _datasets() -> Iterator[Entry]:
    for spec in DATASETS.values():
        facts = {
            "shape": list(spec.shape),
            "size": spec.size,
            "classes": spec.classes,
            "captions": spec.captions,
            "licence": spec.licence,
            "here": spec.missing() is None,
        }
        group = "archives, which `fewstep prepare` makes" if spec.archive else "embedded"
        yield Entry(spec.name, "dataset", spec.summary, group, facts=facts)


def _teachers() -> Iterator[Entry]:
    for spec in TEACHERS.values():
        yield Entry(spec.name, "teacher", spec.summary, papers=spec.papers, facts={"trains": spec.trains})


def _metrics() -> Iterator[Entry]:
    for metric in METRICS.values():
        missing = lacking([metric.name], {}).get(metric.name)
        facts = {
            "features": metric.features,
            "higher_is_better": metric.higher_is_better,
            "samples": metric.enough,
            "captioned": metric.captioned,
            "ready": missing is None,
            "missing": None if missing is None else str(missing),
        }
        notes = [f"{'higher' if metric.higher_is_better else 'lower'} is better"]
        notes += [f"{metric.enough:,} samples or more"] if metric.enough else []
        notes += ["not ready"] if missing else []
        yield Entry(
            metric.name,
            "metric",
            metric.summary,
            _taken_from(metric),
            metric.display,
            metric.papers,
            facts=facts,
            notes=tuple(notes),
        )


def _taken_from(metric: Metric) -> str:
    if metric.features == SCORER:
        return "a small scorer of the data set's images and captions"
    if metric.captioned:
        return "images and their captions"
    if metric.features in (PIXELS, LPIPS):
        return "the distance to the teacher's exact solution"
    if metric.features == LAW:
        return "the samples themselves, where the law of the data is known"
    if metric.features == CLASSIFIER:
        return "features of a small classifier of the data set"
    extractor = EXTRACTORS.get(metric.features)
    inception = extractor is not None and extractor.network == "inception"
    return "Inception features" if inception else "features of other published networks"


def _suite(name: str) -> Entry:
    import yaml

    content = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
    return Entry(name, "suite", str(content.get("description", "")).strip())


def _executors() -> Iterator[Entry]:
    return (Entry(spec.name, "executor", spec.summary) for spec in EXECUTORS.values())


@dataclass(frozen=True)
class Shelf:
    """All entries of a kind. names() is cheaper than entries(), and `one` of a name where it is given."""

    kind: str
    names: Callable[[], Iterable[str]]
    entries: Callable[[], Iterable[Entry]]
    one: Callable[[str], Entry] | None = None

    def of(self, name: str) -> list[Entry]:
        """The entries of that name."""
        if name not in self.names():
            return []
        return [entry for entry in self.entries() if entry.name == name] if self.one is None else [self.one(name)]


SHELVES = {
    "methods": Shelf("method", lambda: METHODS, lambda: _methods(METHODS.values())),
    "solvers": Shelf("solver", lambda: of_kind("solver"), lambda: _methods(of_kind("solver").values())),
    "datasets": Shelf("dataset", lambda: DATASETS, _datasets),
    "teachers": Shelf("teacher", lambda: TEACHERS, _teachers),
    "metrics": Shelf("metric", lambda: METRICS, _metrics),
    "suites": Shelf("suite", shipped_names, lambda: map(_suite, shipped_names()), _suite),
    "executors": Shelf("executor", lambda: EXECUTORS, _executors),
}
"""By what `fewstep list` calls a kind. Solvers are methods too."""


def catalogue(kind: str) -> list[Entry]:
    """Every entry of a kind (a key of SHELVES), those of a group together, groups in the order of their first."""
    entries = list(SHELVES[kind].entries())
    groups = list(dict.fromkeys(entry.group for entry in entries))
    return sorted(entries, key=lambda entry: groups.index(entry.group))


def find(name: str, kind: str | None = None) -> list[Entry]:
    """The entries of that name, of one kind (singular) or of all; InputError names the nearest."""
    searched = [shelf for shelf in SHELVES.values() if shelf.kind == (kind or shelf.kind)]
    if kind is None:
        searched.remove(SHELVES["solvers"])
    found = [entry for shelf in searched for entry in shelf.of(name)]
    if not found and kind in (None, "suite") and Path(name).is_file():
        found = [Entry(name, "suite", load(name).description)]
    if not found:
        raise InputError(f"{f'no {kind}' if kind else 'nothing'} is called {name!r}{_near(name, searched)}")
    return found


def _near(name: str, searched: list[Shelf]) -> str:
    kinds: dict[str, list[str]] = {}
    for shelf in searched:
        for known in shelf.names():
            kinds.setdefault(known, []).append(shelf.kind)
    near = [f"{known!r} ({', '.join(kinds[known])})" for known in difflib.get_close_matches(name, kinds)]
    return f"; did you mean {' or '.join(near)}?" if near else "; `fewstep list KIND` has the names"
