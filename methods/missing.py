"""What this machine lacks, and the command that gets it. No torch."""

from dataclasses import dataclass
from typing import Literal

Fault = Literal["", "wrong hash", "cut short"]


@dataclass(frozen=True)
class Missing:
    """`what` is a package or a file, `command` gets it; `fault` says that a file is there and not whole."""

    what: str
    command: str
    fault: Fault = ""

    @property
    def detail(self) -> str:
        """All but the word "missing", as statuses and `fewstep doctor` show it."""
        return f"{self.what}, get it {'again ' if self.fault else ''}by `{self.command}`"

    def __str__(self) -> str:
        return self.detail if self.fault else f"missing {self.detail}"
