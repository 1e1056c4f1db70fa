"""A table before it is fitted to a place: groups of rows, whose cells know what they say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Cell:
    """A text or a number.

    detail: of a name, what tells its row from others of the method. error: of a number, its standard deviation.
    cites: keys of papers.bib. unbeaten: best, and by none that costs less either. muted: of a number from memory.
    verdicts: of what it compares, for filters.
    """

    text: str = ""
    detail: str = ""
    error: str = ""
    best: bool = False
    unbeaten: bool = False
    second: bool = False
    cites: tuple[str, ...] = ()
    muted: bool = False
    verdicts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`Bespoke [RK1]`, `2.41 ± 0.12*`."""
        detail = f"[{self.detail}]" * bool(self.detail)
        error = f"± {self.error}" * bool(self.error)
        return " ".join(filter(None, (self.text, detail, error))) + self.stars

    @property
    def stars(self) -> str:
        return "*" * (self.best + self.unbeaten)


@dataclass(frozen=True)
class Group:
    """Rows of one kind; without a title if the table has no kinds."""

    title: str
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Table:
    """left: so many columns hold text; the others hold numbers and are set to the right. best: what a star says,
    unbeaten: what two say, second: what underlining says, each empty without such cells. key: what names the table
    among those of its board.
    """

    title: str
    columns: list[str]
    groups: list[Group]
    notes: list[str]
    left: int = 1
    best: str = ""
    unbeaten: str = ""
    second: str = ""
    key: tuple[str, ...] = ()

    @property
    def rows(self) -> list[list[Cell]]:
        return [row for group in self.groups for row in group.rows]

    @property
    def texts(self) -> list[list[str]]:
        return [[str(cell) for cell in row] for row in self.rows]

    @property
    def said(self) -> list[str]:
        """The notes, with those of the stars."""
        stars = [f"{stars} {text}" for stars, text in (("*", self.best), ("**", self.unbeaten)) if text]
        return [*stars, *self.notes]

    def belongs(self, row: Sequence[object], columns: Sequence[int]) -> bool:
        """Whether a row is in a block of columns: it has a number there, or none at all and the block is the first."""
        numbers = [i for i in columns if i >= self.left]
        first = not numbers or numbers[0] == self.left
        return any(str(row[i]) for i in numbers) or (first and not any(map(str, row[self.left :])))

    def transposed(self) -> "Table":
        """Rows across, under their names, and number columns down; groups and citations are left out."""
        heads = [" ".join(filter(None, map(str, row[: self.left]))) for row in self.rows]
        lines = [[Cell(name), *(row[i] for row in self.rows)] for i, name in self._numbers]
        return replace(
            self,
            columns=["", *heads],
            groups=[Group("", lines)],
            left=1,
            best=self.best.replace("row", "column"),
        )

    @property
    def _numbers(self) -> list[tuple[int, str]]:
        return [(i, name) for i, name in enumerate(self.columns) if i >= self.left]
