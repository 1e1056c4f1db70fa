"""How many evaluations, and forwards, a block of code asks of the denoisers that it calls."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

Forward = Callable[..., Any]
"""(predict, x, t, condition) -> what a network makes of them: by a forward, or its gradient too."""


class Exhausted(Exception):
    """Raised from inside a denoiser by a meter's `before_forward`: nothing is left for another forward."""


@dataclass(eq=False)
class Meter:
    """What sampling cost, counted per batch row as it happens.

    evaluations: denoiser values asked for (NFE times samples); forwards: network forwards that they took
    (a guided evaluation takes two, fused into one batch or not; one of DFNO as many as it has moments).
    `before_forward` is called before each network forward, which `forwards` then holds; what it raises comes out of the
    denoiser.
    """

    before_forward: Callable[[], None] | None = field(default=None, repr=False)
    evaluations: int = 0
    forwards: int = 0
    _depth: int = field(default=0, repr=False)

    def enter(self, rows: int) -> None:
        self.evaluations += rows if self._depth == 0 else 0
        self._depth += 1

    def leave(self) -> None:
        self._depth -= 1


_meters: list[Meter] = []
_around: list[Callable[..., Any]] = []


@contextmanager
def metered(before_forward: Callable[[], None] | None = None) -> Iterator[Meter]:
    """Count the evaluations and forwards of every denoiser called inside the block."""
    meter = Meter(before_forward)
    _meters.append(meter)
    try:
        yield meter
    finally:
        _meters.remove(meter)


def enter(rows: int) -> None:
    """A denoiser is asked for `rows` values: an evaluation, unless another one asks for its own."""
    for meter in _meters:
        meter.enter(rows)


def leave() -> None:
    """The denoiser that was asked last has answered."""
    for meter in _meters:
        meter.leave()


def count_forward(rows: int) -> None:
    for meter in _meters:
        meter.forwards += rows
        if meter.before_forward is not None:
            meter.before_forward()


@contextmanager
def around_forwards(around: Callable[..., Any]) -> Iterator[None]:
    """Inside, each `forward` is around(evaluate, predict, x, t, condition), which calls evaluate with the rest."""
    _around.append(around)
    try:
        yield
    finally:
        _around.remove(around)


def forward(evaluate: Forward, *asked: Any) -> Any:
    """evaluate(*asked), what a network is asked for. Counted as a forward by `count_forward` alone."""
    for around in _around:
        evaluate = partial(around, evaluate)
    return evaluate(*asked)
