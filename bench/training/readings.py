"""What the last steps say of themselves, read from the device some steps at a time: each read waits for it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...methods.method import Watched
from ...reports.status import Kind
from ..errors import TaskError
from .tracking import Tracker

STEPS = 10
"""How many steps are read at once."""


class DivergedError(TaskError):
    """Training cannot go on, since `step`."""

    kind = Kind.DIVERGED

    def __init__(self, step: int, reason: str = "the loss is not finite") -> None:
        super().__init__(f"{reason} at step {step}")
        self.step = step


def wrong_loss(loss: float) -> str | None:
    return None if math.isfinite(loss) else "the loss is not finite"


@dataclass(frozen=True)
class _Step:
    number: int
    watched: list[Watched]
    row: dict[str, Any] | None

    def waiting(self) -> list[Tensor]:
        """What is to be read: the watched numbers, then the row's."""
        logged = [value for value in (self.row or {}).values() if isinstance(value, Tensor)]
        return [watched.value for watched in self.watched] + logged


class Readings:
    """The losses, and what else methods watch, of the steps since the last `read`; and rows that lack their loss.

    Tensors () in a row are read with it.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._steps: list[_Step] = []

    def add(self, number: int, loss: Tensor, watched: list[Watched], row: dict[str, Any] | None) -> None:
        """Keep a step's numbers, and its row if it enters the record; with every STEPS of them, `read`."""
        self._steps.append(_Step(number, [Watched(loss, wrong_loss), *watched], row))
        if len(self._steps) >= STEPS:
            self.read()

    @contextmanager
    def complete(self) -> Iterator[None]:
        """The block's steps are all read at its end; where it fails, a number that was wrong before is the reason."""
        try:
            yield
        except Exception:
            self.read()
            raise
        self.read()

    def read(self) -> None:
        """Enter the rows that wait. DivergedError, with the first such step, where a number is wrong."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        like = steps[0].watched[0].value
        waiting = [value.to(like) for step in steps for value in step.waiting()]
        numbers = iter(torch.stack(waiting).tolist())
        for step in steps:
            values = [next(numbers) for _ in step.watched]
            for value, watched in zip(values, step.watched, strict=True):
                if (reason := watched.wrong(value)) is not None:
                    raise DivergedError(step.number, reason)
            if step.row is not None:
                row = {name: next(numbers) if isinstance(v, Tensor) else v for name, v in step.row.items()}
                self._tracker.log({**row, "loss": values[0]})
