"""The budget: what a training run may spend, and the ledger of what it did spend, in measured FLOPs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...methods.denoiser import Denoiser
from ..errors import OUT_OF_BUDGET, TaskError


@dataclass
class Ledger:
    """Spending against `limit` in `unit`: evaluations, flops, images or seconds.

    An evaluation is the FLOPs of one forward of the teacher's network on one sample: a guided teacher takes two.
    `step_uses` holds, for each kind of step, the FLOPs measured on the first real one, forward and backward of
    every network it touches, by use. `students` holds, for each NFE whose student was finished before the run
    ended, what had been spent by then. `peak_bytes` holds the memory of a step of each kind, see MemoryCallback.
    """

    limit: float
    unit: str
    flops_per_evaluation: float
    flops: float = 0
    images: int = 0
    steps: int = 0
    seconds: float = 0.0
    step_uses: dict[str, dict[str, float]] = field(default_factory=dict)
    uses: dict[str, float] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)
    students: dict[str, dict[str, Any]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    @property
    def step_flops(self) -> dict[str, float]:
        """The FLOPs of one step of each kind."""
        return {kind: sum(uses.values()) for kind, uses in self.step_uses.items()}

    @property
    def evaluations(self) -> float:
        return self.flops / self.flops_per_evaluation

    @property
    def spent(self) -> float:
        """The share of the budget used so far."""
        return self._in_unit(self.flops, self.images, self.seconds) / self.limit

    def affords(self, kind: str, images: int) -> bool:
        """Whether one more step of this kind stays within the limit; a kind never measured is tried.

        It is expected to take as long as the last of its kind.
        """
        flops = self.flops + self.step_flops.get(kind, 0)
        return self._in_unit(flops, self.images + images, self.seconds + self.step_seconds.get(kind, 0)) <= self.limit

    def charge(self, kind: str, images: int, seconds: float) -> None:
        """Enter one step. Raises TaskError if it overspends, which a measured kind cannot; in seconds only the first
        step does: a later one may take longer than expected, and is the last.
        """
        self.flops += self.step_flops[kind]
        for use, flops in self.step_uses[kind].items():
            self.uses[use] = self.uses.get(use, 0) + flops
        self.images += images
        self.steps += 1
        self.seconds += seconds
        self.step_seconds[kind] = seconds
        if self.spent > 1 and (self.unit != "seconds" or self.steps == 1):
            cost = self._in_unit(self.step_flops[kind], images, seconds)
            raise TaskError(f"{OUT_OF_BUDGET}: one step costs {cost:.6g} {self.unit}, the budget is {self.limit:.6g}")

    def _in_unit(self, flops: float, images: float, seconds: float) -> float:
        amounts = {"flops": flops, "evaluations": flops / self.flops_per_evaluation}
        return {**amounts, "images": images, "seconds": seconds}[self.unit]

    def note_students(self, nfes: Iterable[int]) -> None:
        """The students of these NFEs are finished: what is spent so far is what they cost."""
        for nfe in nfes:
            spent = {"evaluations": self.evaluations, "uses": dict(self.uses)}
            spent |= {key: getattr(self, key) for key in ("flops", "images", "steps", "seconds")}
            self.students.setdefault(str(nfe), spent)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "evaluations": self.evaluations}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the counts of a saved ledger; the limit stays this run's own."""
        for key in (
            "flops",
            "images",
            "steps",
            "seconds",
            "step_uses",
            "step_seconds",
            "uses",
            "students",
            "peak_bytes",
        ):
            setattr(self, key, state[key])


def forward_flops(denoiser: Denoiser, noise: Tensor, condition: Any = None) -> float:
    """FLOPs of one forward on one sample, measured on the batch `noise`: of its matrix products."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        denoiser(noise, denoiser.path.t_max, condition)
    return counter.get_total_flops() / len(noise)
