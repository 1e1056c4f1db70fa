"""What the command line reports in one line."""

from collections.abc import Sequence

from ..methods.register import RegisterError as RegisterError
from ..methods.register import UnknownNameError as UnknownNameError
from ..reports.errors import DamagedError as DamagedError
from ..reports.status import Kind, Status

# For people: no number depends on what is said here.
PART_OF_RESULTS = False


class InputError(Exception):
    """Something the user wrote is wrong: the message says what, where and what to do. Exit code 2."""


class Mistakes(InputError):
    """All that is wrong with one input, a line for each."""

    MOST = 30

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines[: self.MOST])
        if len(lines) > self.MOST:
            self.lines.append(f"and {len(lines) - self.MOST} more")


class CorruptError(Exception):
    """An artifact whose files are not those that its manifest lists."""


class TaskError(Exception):
    """A task cannot be done for a reason that is not a bug: becomes a row's status, not a traceback."""

    kind = Kind.FAILED

    @property
    def status(self) -> Status:
        return Status(self.kind, self.args[0])


class OutOfBudget(TaskError):
    """The budget cannot pay for what must be done before there is a student."""

    kind = Kind.OUT_OF_BUDGET

    def __str__(self) -> str:
        return str(self.status)


class Terminated(KeyboardInterrupt):
    """SIGTERM stops a run as Ctrl-C does."""


INTERRUPTED, TERMINATED = 130, 143
"""The exit codes of what Ctrl-C and SIGTERM end, as shells have them."""


SHOWN = 160
"""Characters of a name that a message shows."""


def shortened(name: object) -> str:
    """A name that somebody chose, without the middle of a very long one."""
    text = str(name)
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}...{text[-SHOWN // 2 :]}"


def printable(text: str) -> str:
    """One line that a terminal shows as it stands: names of files are chosen by others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
