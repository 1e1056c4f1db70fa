"""A rule about noise levels that a row lists itself. No torch."""

from collections.abc import Iterator

from .fits import Complaint, entries, levels, of_entry
from .schema import Suite


def given_levels_are_the_teachers(suite: Suite) -> Iterator[Complaint]:
    """Noise levels that a row lists."""
    for where, entry in entries(suite):
        for options in entry.trials():
            given = getattr(options, "levels", None)
            if not isinstance(given, tuple):
                continue
            for teacher in of_entry(suite, entry):
                ends = levels(teacher)
                if ends is not None and not ends[0] <= given[-1] <= given[0] <= ends[1] * (1 + 1e-6):
                    message = f"{given[0]:g} to {given[-1]:g}, and teacher {teacher.shown()!r} knows noise levels from"
                    yield (*where, "options", "levels"), f"{message} {ends[1]:g} to {ends[0]:g}"
