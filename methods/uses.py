"""What a training step's evaluations are for: a method names the use, the runner's ledger keeps them apart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

DEFAULT = "student forward"
"""What is spent outside every `spent_on`; the runner books its backward passes as BACKWARD."""
BACKWARD = "student backward"

_meters: list["UseMeter"] = []


class UseMeter:
    """Divides what `total()` grows by among the uses: each amount goes to the innermost open one."""

    def __init__(self, total: Callable[[], float]) -> None:
        self.amounts: dict[str, float] = {}
        self._total = total
        self._open = [DEFAULT]
        self._mark = total()

    def enter(self, use: str) -> None:
        self._book()
        self._open.append(use)

    def enter_backward(self) -> None:
        """A backward pass of the student's, or of the use whose block it is in."""
        self.enter(BACKWARD if self._open[-1] == DEFAULT else self._open[-1])

    def leave(self) -> None:
        self._book()
        self._open.pop()

    def _book(self) -> None:
        now = self._total()
        if now > self._mark:
            self.amounts[self._open[-1]] = self.amounts.get(self._open[-1], 0) + now - self._mark
        self._mark = now

    def finish(self) -> dict[str, float]:
        """The amounts by use, the last one booked."""
        self._book()
        return self.amounts


@contextmanager
def spent_on(use: str) -> Iterator[None]:
    """What the block evaluates is booked as `use`: "teacher", "ground truth", "pairs", "selection", "auxiliary"."""
    meters = list(_meters)
    for meter in meters:
        meter.enter(use)
    try:
        yield
    finally:
        for meter in meters:
            meter.leave()


@contextmanager
def divided(total: Callable[[], float]) -> Iterator[UseMeter]:
    """A meter of the uses inside the block."""
    meter = UseMeter(total)
    _meters.append(meter)
    try:
        yield meter
    finally:
        _meters.remove(meter)
