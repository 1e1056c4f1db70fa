"""The numbers that papers print: `leaderboards/published.csv`, a row for each."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib.resources import files

KEY = (
    "paper_key", "paper_table", "dataset", "resolution", "conditioning", "teacher", "method", "solver_or_variant",
    "nfe", "metric", "guidance_scale",
)  # fmt: skip
"""Rows with the same of these are different sources of one number."""
VERIFICATIONS = ("verified", "recalled")
SOURCES = ("primary", "secondary", "memory")
"""What a note begins with: read in the paper itself or its authors' repository; in a digest, a review or another paper;
not read at all."""


@dataclass(frozen=True)
class Row:
    """One number of one table, as text: an arXiv number and an NFE are no floats.

    paper_key: whose table it is, not who invented the method. nfe: as the paper counts, or empty. data_free: y, n or
    empty. verification: one of VERIFICATIONS. decimals: that the paper prints.
    """

    paper_key: str
    arxiv_id: str
    paper_table: str
    dataset: str
    resolution: str
    conditioning: str
    teacher: str
    method: str
    solver_or_variant: str
    nfe: str
    metric: str
    value: str
    guidance_scale: str
    data_free: str
    train_compute: str
    note: str
    verification: str
    source: str
    decimals: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(getattr(self, name) for name in KEY)

    @property
    def number(self) -> float:
        return float(self.value)

    @property
    def recalled(self) -> bool:
        return self.verification == "recalled"

    @property
    def read_in(self) -> str:
        """primary, secondary or memory."""
        return self.note.partition(";")[0].removeprefix("src=")

    @property
    def shown(self) -> str:
        """The value with the decimals of its table."""
        return f"{self.number:.{self.decimals}f}"


COLUMNS = tuple(field.name for field in fields(Row) if field.name != "decimals")


def parse(lines: Iterable[str]) -> list[Row]:
    """The rows of a CSV text; ValueError for another head.

    The collection has no trailing zeros: 3 stands for 3.00 in a table of two decimals. `decimals` are therefore the
    most of any number of the same metric in the same table.
    """
    reader = csv.DictReader(lines)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"published numbers need the columns {', '.join(COLUMNS)}")
    found = [Row(**{name: str(row[name]) for name in COLUMNS}) for row in reader]  # type: ignore[arg-type]
    most: dict[tuple[str, ...], int] = {}
    for row in found:
        place = (row.paper_key, row.paper_table, row.metric)
        most[place] = max(most.get(place, 0), len(row.value.partition(".")[2]))
    return [replace(row, decimals=most[row.paper_key, row.paper_table, row.metric]) for row in found]


@cache
def collection() -> tuple[Row, ...]:
    """All numbers that come with fewstep."""
    text = files("fewstep").joinpath("leaderboards", "published.csv").read_text(encoding="utf-8")
    return tuple(parse(text.splitlines()))


def collisions(rows: Iterable[Row]) -> dict[tuple[str, ...], list[Row]]:
    """The keys that several rows have: sources that disagree."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(row.key, []).append(row)
    return {key: own for key, own in found.items() if len(own) > 1}


def of_table(rows: Sequence[Row], paper_key: str, table: str | None = None) -> list[Row]:
    """The rows of a paper, or of one of its tables; ValueError with the names there are if there are none."""
    own = [row for row in rows if row.paper_key == paper_key]
    if not own:
        raise ValueError(
            f"no published numbers of {paper_key!r}; there are {', '.join(sorted({r.paper_key for r in rows}))}"
        )
    if table is None:
        return own
    chosen = [row for row in own if row.paper_table == table]
    if not chosen:
        tables = ", ".join(dict.fromkeys(row.paper_table for row in own))
        raise ValueError(f"{paper_key} has no table {table!r}; there are {tables}")
    return chosen
