"""The budget: what a training run may spend, and the ledger of what it did spend, in measured FLOPs."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...methods.denoiser import Denoiser
from ..errors import OutOfBudget, TaskError

TOLERANCE = 0.005
"""How far the ledger may be from a FLOP counter around the whole run, and a kind's steps from its first."""


@dataclass
class Ledger:
    """Spending against `limit` in `unit`: evaluations, flops, images, iterations (steps) or seconds.

    An evaluation is the FLOPs of one forward of the teacher's network on one sample: a guided teacher takes two.
    `step_uses` holds, for each kind of step, the FLOPs measured on the first real one, forward and backward of
    every network it touches, by use, and `step_forwards` the network forwards that it took, times samples: every
    later step of the kind is charged the same. `kind_steps` and `kind_forwards` hold how many steps of a kind there
    were and the forwards of all of them. `students` holds, for each NFE whose student was finished before the run
    ended, what had been spent by then. `peak_bytes` holds the memory of a step of each kind, see memory.py.
    """

    limit: float
    unit: str
    flops_per_evaluation: float
    flops: float = 0
    images: int = 0
    steps: int = 0
    seconds: float = 0.0
    step_uses: dict[str, dict[str, float]] = field(default_factory=dict)
    step_forwards: dict[str, int] = field(default_factory=dict)
    kind_steps: dict[str, int] = field(default_factory=dict)
    kind_forwards: dict[str, int] = field(default_factory=dict)
    uses: dict[str, float] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)
    students: dict[str, dict[str, Any]] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.flops_per_evaluation > 0:
            raise TaskError("an evaluation of the teacher holds no matrix product: no budget can be measured in it")

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
        return self._in_unit(self.flops, self.images, self.seconds, self.steps) / self.limit

    def affords(self, kind: str, images: int) -> bool:
        """Whether one more step of this kind stays within the limit.

        It is expected to take as long as the last of its kind. A kind never measured is tried if anything is left:
        the step is stopped when it runs past the limit, see StepMeter.
        """
        flops = self.flops + self.step_flops.get(kind, 0)
        seconds = self.seconds + self.step_seconds.get(kind, 0)
        within = self._in_unit(flops, self.images + images, seconds, self.steps + 1) <= self.limit
        return within and (kind in self.step_uses or self.spent < 1)

    def is_exceeded(self, flops: float, seconds: float) -> bool:
        """Whether a step that has taken this much so far is past the limit; it and its images are counted when it is
        done.
        """
        return self._in_unit(self.flops + flops, self.images, self.seconds + seconds, self.steps) > self.limit

    def check_forwards(self, kind: str, forwards: int) -> None:
        """Raise TaskError if a step of a known kind, after so many `forwards`, is past what its kind allows."""
        first = self.step_forwards[kind]
        excess = self.kind_forwards[kind] + forwards - (self.kind_steps[kind] + 1) * first
        if excess > TOLERANCE * (self.kind_steps[kind] + 1) * first:
            self._refuse(kind, f"{forwards} forwards or more", str(first))

    def charge(
        self, kind: str, images: int, seconds: float, forwards: int = 0, uses: dict[str, float] | None = None
    ) -> None:
        """Enter one step, with its FLOPs by use if they were measured: always for the first of a kind.

        Raises TaskError if it differs from the first of its kind, or if it overspends; in seconds only the first
        step does: a later one may take longer than expected, and is the last.
        """
        self._compare(kind, forwards, uses)
        spent = self.step_uses[kind]
        self.flops += sum(spent.values())
        for use, flops in spent.items():
            self.uses[use] = self.uses.get(use, 0) + flops
        self.images += images
        self.steps += 1
        self.seconds += seconds
        self.step_seconds[kind] = seconds
        if self.spent > 1 and (self.unit != "seconds" or self.steps == 1):
            cost = self._in_unit(self.step_flops[kind], images, seconds, 1)
            raise OutOfBudget(f"one step costs {cost:.6g} {self.unit}, the budget is {self.limit:.6g}")

    def _compare(self, kind: str, forwards: int, uses: dict[str, float] | None) -> None:
        """The first step of a kind says what the others take: raise TaskError if this one takes something else."""
        if uses is not None:
            first, now = sum(self.step_uses.setdefault(kind, uses).values()), sum(uses.values())
            if abs(now - first) > TOLERANCE * first:
                self._refuse(kind, f"{now:.6g} FLOPs", f"{first:.6g}")
        expected = self.step_forwards.setdefault(kind, forwards)
        steps = self.kind_steps[kind] = self.kind_steps.get(kind, 0) + 1
        total = self.kind_forwards[kind] = self.kind_forwards.get(kind, 0) + forwards
        if abs(total - steps * expected) > TOLERANCE * steps * expected:
            self._refuse(kind, f"{forwards} forwards", str(expected))

    def _refuse(self, kind: str, taken: str, first: str) -> NoReturn:
        cure = "give steps that cost differently different kinds (`step_kind`)"
        raise TaskError(f"step {self.steps + 1}: a {kind!r} took {taken}, the first took {first}: {cure}")

    def estimated(self, kind: str, forwards: int) -> dict[str, float]:
        """FLOPs by use of a step of a known kind that was stopped after `forwards`; the whole of a kind without any."""
        first = self.step_forwards[kind]
        return {use: flops * (forwards / first if first else 1) for use, flops in self.step_uses[kind].items()}

    def drop(self, uses: dict[str, float], seconds: float) -> None:
        """Enter a step that was stopped at the limit: what it took, up to the limit, and none of its images."""
        taken = sum(uses.values())
        limit = {"flops": self.limit, "evaluations": self.limit * self.flops_per_evaluation}.get(self.unit, math.inf)
        share = min(1.0, (limit - self.flops) / taken) if taken else 1.0
        self.flops = min(self.flops + share * taken, limit)
        for use, flops in uses.items():
            self.uses[use] = self.uses.get(use, 0) + share * flops
        self.seconds += min(seconds, self.limit - self.seconds) if self.unit == "seconds" else seconds

    def _in_unit(self, flops: float, images: float, seconds: float, steps: int) -> float:
        amounts = {"flops": flops, "evaluations": flops / self.flops_per_evaluation, "iterations": steps}
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
            "step_forwards",
            "step_seconds",
            "kind_steps",
            "kind_forwards",
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
