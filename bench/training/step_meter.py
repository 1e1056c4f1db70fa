"""One training step, metered while it runs: forwards, seconds and, of some steps, FLOPs by use and memory."""

import hashlib
import time
from collections.abc import Iterable
from contextlib import ExitStack

import torch
from torch import Tensor

from ...methods import ranks, uses
from ...methods.denoiser import Exhausted, metered
from .counting import Counted
from .ledger import Ledger

CHECKED = 0.01
"""The share of a kind's steps whose FLOPs are measured again, once there are many of them."""

WHOLE = {torch.ops.aten.silu_backward.default: lambda *args, **kwargs: 0}
"""Operations that the counter would take apart, with other roundings: a step measured again is the same to the bit."""


def is_checked(seed: int, step: int, done: int) -> bool:
    """Whether the FLOPs of training step `step` are measured again, of whose kind `done` steps were charged before.

    By a hash of (seed, step), with probability 1/done and at least CHECKED: a few of the first, one in a hundred
    later. Not the second, whose memory is measured.
    """
    if done < 2:
        return False
    digest = hashlib.blake2b(f"{seed}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64 < max(CHECKED, 1 / done)


class StepMeter:
    """What a step of `kind` takes, from when this is made until `close`.

    Inside the step it raises Exhausted where the step runs past the budget, and TaskError where it takes more
    forwards than its kind. FLOPs are counted if `flops`, memory if `held` are the tensors alive before the step.
    """

    def __init__(self, ledger: Ledger, kind: str, flops: bool, held: Iterable[Tensor] | None = None) -> None:
        self.ledger, self.kind = ledger, kind
        self._started = time.perf_counter()
        self._open = ExitStack()
        self._meter = self._open.enter_context(metered(self.check))
        self._uses: uses.UseMeter | None = None
        again = WHOLE if kind in ledger.step_uses else None
        self._counted = self._open.enter_context(Counted(flops, held, again))
        if flops:
            self._open.enter_context(ranks.whole())
            self._uses = self._open.enter_context(uses.divided(lambda: self._counted.flops))

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started

    @property
    def forwards(self) -> int:
        return self._meter.forwards

    @property
    def peak_bytes(self) -> int | None:
        return self._counted.peak_bytes

    def measured(self) -> dict[str, float] | None:
        """FLOPs by use so far, None where they are not counted."""
        return None if self._uses is None else self._uses.finish()

    def taken(self) -> dict[str, float]:
        """FLOPs by use so far; where they are not counted, what the forwards make of the kind's."""
        measured = self.measured()
        return self.ledger.estimated(self.kind, self.forwards) if measured is None else measured

    def check(self) -> None:
        """Raise Exhausted or TaskError if the step is past what the budget, or its kind, allows."""
        if self.kind in self.ledger.step_uses:
            self.ledger.check_forwards(self.kind, self.forwards)
        if self.ledger.is_exceeded(self._counted.flops, self.seconds):
            raise Exhausted

    def backward_begins(self) -> None:
        if self._uses is not None:
            self._uses.enter_backward()

    def backward_ends(self) -> None:
        if self._uses is not None:
            self._uses.leave()

    def close(self) -> None:
        """Count no more; twice does no harm."""
        self._open.close()
