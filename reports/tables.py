"""A table before it is fitted to a place: groups of rows, whose cells know what they say."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A text or a number.

    detail: of a name, what tells its row from others of the method. error: of a number, its standard deviation.
    cites: keys of papers.bib.
    """

    text: str = ""
    detail: str = ""
    error: str = ""
    best: bool = False
    second: bool = False
    cites: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`Bespoke [RK1]`, `2.41 ± 0.12*`."""
        detail = f"[{self.detail}]" * bool(self.detail)
        error = f"± {self.error}" * bool(self.error)
        return " ".join(filter(None, (self.text, detail, error))) + "*" * self.best


@dataclass(frozen=True)
class Group:
    """Rows of one kind; without a title if the table has no kinds."""

    title: str
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Table:
    """left: so many columns hold text; the others hold numbers and are set to the right. best: what a star says,
    second: what underlining says, both empty without such cells. key: what names the table among those of its board.
    """

    title: str
    columns: list[str]
    groups: list[Group]
    notes: list[str]
    left: int = 1
    best: str = ""
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
        """The notes, with the star's."""
        return [*([f"* {self.best}"] if self.best else []), *self.notes]
