"""The state of a cell: what kind, and why. This module alone reads and writes the text that results.csv holds."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a cell ended. The values are what results.csv begins with."""

    DONE = "done"
    SKIPPED = "skipped"
    """The method does not do this, such as an NFE that it cannot reach."""
    LACKING = "skipped: missing"
    """Something that can be had is not here; the reason names it with the command that gets it."""
    DIVERGED = "diverged"
    OUT_OF_BUDGET = "out of budget"
    FAILED = "failed"
    STALE = "stale"
    """The store has an answer by older code."""
    NOT_RUN = "missing"


@dataclass(frozen=True)
class Status:
    kind: Kind
    reason: str = ""

    def __str__(self) -> str:
        if not self.reason:
            return str(self.kind)
        return f"{self.kind}{' ' if self.kind is Kind.LACKING else ': '}{self.reason}"

    @classmethod
    def parse(cls, text: str) -> "Status":
        """The status that `text` was written from. ValueError for a text that none writes."""
        for kind in sorted(Kind, key=len, reverse=True):
            rest = text.removeprefix(kind)
            if rest != text and (not rest or rest[0] in ": "):
                return cls(kind, rest.removeprefix(":").strip())
        raise ValueError(f"not a status: {text!r}; one of {', '.join(Kind)}")

    @property
    def note(self) -> str:
        """Under a table, whose dash says already that the cell was skipped."""
        if self.kind is Kind.LACKING:
            return f"missing {self.reason}"
        return self.reason if self.kind is Kind.SKIPPED else str(self)

    @property
    def done(self) -> bool:
        return self.kind is Kind.DONE

    @property
    def fault(self) -> bool:
        """Whether a value is absent that could have been had: the run then exits with 1."""
        return self.kind not in (Kind.DONE, Kind.SKIPPED)


DONE = Status(Kind.DONE)
