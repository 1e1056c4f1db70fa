"""What a conformance check is: properties of a subject, each tried by itself, each answered in one line. No torch."""

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import printable

State = Literal["ok", "FAILED", "not applicable"]


class Failed(Exception):
    """The property does not hold: the message says what was seen and what to do."""


class NotApplicable(Exception):
    """The property asks for something that the subject does not claim or that is missing; the message says what."""


Property = Callable[[Any], None]
"""property(subject) returns where it holds, and raises Failed or NotApplicable; other exceptions are failures too."""


@dataclass(frozen=True)
class Verdict:
    """One property of one subject."""

    claim: str
    state: State
    reason: str = ""

    @property
    def line(self) -> str:
        return f"{self.state}: {self.claim}" + (f": {self.reason}" if self.reason else "")


def verdicts(subject: Any, properties: Mapping[str, Property]) -> Iterator[Verdict]:
    """The verdict on each property, in order, as soon as it is known."""
    for claim, holds in properties.items():
        yield _verdict(subject, claim, holds)


def _verdict(subject: Any, claim: str, holds: Property) -> Verdict:
    try:
        holds(subject)
    except NotApplicable as reason:
        return Verdict(claim, "not applicable", one_line(reason))
    except Failed as reason:
        return Verdict(claim, "FAILED", one_line(reason))
    except Exception as error:  # the subject is somebody else's code, which may raise anything
        return Verdict(claim, "FAILED", described(error))
    return Verdict(claim, "ok")


def described(error: BaseException) -> str:
    """An unexpected exception in one line: its type, its message and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {one_line(error)}{where}"


def one_line(message: object) -> str:
    """The text without line breaks, and without characters that a terminal would obey."""
    return printable(" ".join(str(message).split()))


def require(condition: bool, message: str) -> None:
    """Failed(message) unless the condition holds."""
    if not condition:
        raise Failed(message)
