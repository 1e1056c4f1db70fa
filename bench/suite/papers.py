"""A suite that repeats a paper's table names rows which the collection of published numbers has. No torch."""

from collections.abc import Iterator

from ...methods.register import did_you_mean
from ...reports.published.collection import Row, collection, of_table
from .document import Location
from .fits import Complaint, entries
from .schema import Published, PublishedRow, Suite


def papers_are_collected(suite: Suite) -> Iterator[Complaint]:
    if suite.paper is None:
        for where, entry in entries(suite):
            if entry.published is not None:
                yield (*where, "published"), "the suite names no `paper` whose table this is of"
        for i, problem in enumerate(suite.problems):
            if problem.published is not None:
                yield ("problems", i, "published"), "the suite names no `paper` whose table this is of"
        return
    places: list[Location] = [("paper",), *(("paper", "also", i) for i in range(len(suite.paper.also)))]
    for place, named in zip(places, [suite.paper, *suite.paper.also], strict=True):
        try:
            of_table(collection(), named.key, named.table)
        except ValueError as error:
            yield place, str(error)


def published_rows_are_those_of_the_table(suite: Suite) -> Iterator[Complaint]:
    rows = _rows(suite)
    if not rows:
        return
    for i, problem in enumerate(suite.problems):
        if problem.published is not None:
            yield from _on(rows, ("problems", i, "published"), problem.published)
    for where, entry in entries(suite):
        if entry.published is not None:
            yield from _of(rows, (*where, "published"), entry.published)


def _on(rows: list[Row], place: Location, named: Published) -> Iterator[Complaint]:
    yield from _known((*place, "dataset"), named.dataset, {row.dataset for row in rows})
    own = [row for row in rows if row.dataset == named.dataset]
    if not own:
        return
    for key in ("conditioning", "teacher"):
        if (chosen := getattr(named, key)) is not None:
            yield from _known((*place, key), chosen, {getattr(row, key) for row in own})
    for variant in named.solver_or_variant or ():
        yield from _known((*place, "solver_or_variant"), variant, {row.solver_or_variant for row in own})


def _of(rows: list[Row], place: Location, named: PublishedRow) -> Iterator[Complaint]:
    yield from _known((*place, "method"), named.method, {row.method for row in rows})
    variants = {row.solver_or_variant for row in rows if row.method == named.method}
    for variant in named.solver_or_variant or () if variants else ():
        yield from _known((*place, "solver_or_variant"), variant, variants)


def _known(place: Location, name: str, names: set[str]) -> Iterator[Complaint]:
    if name not in names:
        yield place, f"the table has no {place[-1]} {name!r}{did_you_mean(name, sorted(names))}"


def _rows(suite: Suite) -> list[Row]:
    if suite.paper is None:
        return []
    try:
        tables = [of_table(collection(), named.key, named.table) for named in [suite.paper, *suite.paper.also]]
        return [row for table in tables for row in table]
    except ValueError:
        return []


RULES = (papers_are_collected, published_rows_are_those_of_the_table)
