"""What a paper prints of the rows that are drawn, for hollow marks beside ours."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..entries import Entry
from ..naming import Row
from ..published import against
from .chosen import Chosen


@dataclass(frozen=True)
class Printed:
    """marks: by row, what papers print at the place of an entry. tables: where. recalled: numbers left out."""

    marks: Mapping[Row, list[tuple[Entry, float]]] = field(default_factory=dict)
    tables: tuple[str, ...] = ()
    recalled: int = 0

    @property
    def values(self) -> list[float]:
        return [value for own in self.marks.values() for _, value in own]

    @property
    def sentence(self) -> str:
        """For the note under a figure: where the marks come from; empty without any."""
        found = [f"As published: {'; '.join(self.tables)}."] if self.marks else []
        if self.recalled:
            found.append(f"Left out: {self.recalled} number{'s' * (self.recalled > 1)} from memory.")
        return " ".join(found)


def printed(chosen: Chosen, rows: Iterable[Row]) -> Printed:
    """Of a run whose suite repeats a paper's table: of several runs, and of a rehearsal, nothing."""
    folders = list(chosen.folders.values())
    beside = against.read(folders[0]) if len(folders) == 1 else None
    if beside is None or beside.smoke:
        return Printed()
    drawn = {row[:2]: row for row in rows}
    marks: dict[Row, list[tuple[Entry, float]]] = {}
    tables: dict[str, None] = {}
    recalled = 0
    for line in against.lines(beside, chosen.board):
        entry = line.entry
        if entry is None or line.metric != chosen.metric or entry.key.problem != chosen.problem:
            continue
        if (row := drawn.get((entry.method, entry.variant))) is None:
            continue
        recalled += sum(number.recalled for number in line.rows)
        verified = [(entry, number.number / line.scale) for number in line.rows if not number.recalled]
        if verified:
            marks.setdefault(row, []).extend(verified)
            tables[f"{line.row.paper_key}, {line.row.paper_table}"] = None
    return Printed(marks, tuple(tables), recalled)
