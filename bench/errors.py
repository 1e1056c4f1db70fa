"""What the command line reports in one line."""

from ..methods.register import RegisterError as RegisterError


class InputError(Exception):
    """Something the user wrote is wrong: the message says what, where and what to do. Exit code 2."""


class TaskError(Exception):
    """A task cannot be done for a reason that is not a bug: becomes a row's status, not a traceback."""


OUT_OF_BUDGET = "out of budget"
"""How the reason begins where a budget cannot pay for one step: a status of its own."""


def printable(text: str) -> str:
    """One line that a terminal shows as it stands: names of files are chosen by others."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
