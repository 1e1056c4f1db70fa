"""What this machine lacks, and the command that gets it. No torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Missing:
    """`what` is a package or a file; `fault` says what is wrong with a file that is there but not whole."""

    what: str
    command: str
    fault: str = ""

    @property
    def detail(self) -> str:
        """All but the word "missing", as statuses and `fewstep doctor` show it."""
        what = f"{self.what} ({self.fault})" if self.fault else self.what
        return f"{what}, get it by `{self.command}`"

    def __str__(self) -> str:
        return f"missing {self.detail}"
