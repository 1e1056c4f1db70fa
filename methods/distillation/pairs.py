"""Pairs (noise, the ODE's solution from it): what knowledge distillation and rectified flow learn from.

A student that learns from pairs reads no data; the pairs are made, and charged, within its own budget.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .. import solvers
from ..denoiser import Denoiser
from ..randomness import generator
from ..specs.pairs import PairSource
from ..uses import spent_on


class Pairs(nn.Module):
    """All pairs made so far: noise and x0 (n, *shape), buffers, so that checkpoints hold them whatever n is.

    labels (n,) are their conditions where the teacher is class-conditional, None where it is not. With `states` x0 is
    the end of a trajectory and the states before it, (n, states, *shape).
    """

    noise: Tensor
    x0: Tensor
    labels: Tensor | None

    def __init__(self, shape: tuple[int, ...], labelled: bool = False, states: int | None = None) -> None:
        super().__init__()
        self.register_buffer("noise", torch.empty(0, *shape))
        self.register_buffer("x0", torch.empty(0, *shape) if states is None else torch.empty(0, states, *shape))
        self.register_buffer("labels", torch.empty(0, dtype=torch.int64) if labelled else None)

    @classmethod
    def of(cls, teacher: Denoiser, method: str, states: int | None = None) -> "Pairs":
        """None yet, for samples of the teacher's shape; ValueError where it does not know it."""
        if teacher.sample_shape is None:
            raise ValueError(f"{method} needs the teacher's sample_shape: it draws its own noise")
        return cls(teacher.sample_shape, teacher.conditional, states)

    def __len__(self) -> int:
        return len(self.x0)

    def add(self, noise: Tensor, x0: Tensor, labels: Tensor | None = None) -> None:
        """Keep more pairs: b rows of each."""
        self.noise = torch.cat([self.noise, noise.to(self.noise, non_blocking=True)])
        self.x0 = torch.cat([self.x0, x0.to(self.x0, non_blocking=True)])
        if self.labels is not None:
            assert labels is not None
            self.labels = torch.cat([self.labels, labels.to(self.labels, non_blocking=True)])

    def batch(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """(noise, x0, labels) of `count` pairs drawn uniformly from those kept: so many rows of each."""
        rows = torch.randint(len(self), (count,), generator=rng).to(self.x0.device, non_blocking=True)
        return self.noise[rows], self.x0[rows], None if self.labels is None else self.labels[rows]

    def starts(self, teacher: Denoiser, seed: int, step: int, count: int) -> tuple[Tensor, Tensor | None]:
        """(unit noise, labels) that the `count` pairs of training step `step` start from: functions of (seed, step)."""
        noise = torch.randn(count, *self.noise.shape[1:], generator=generator(seed, "pairs", step))
        labels = teacher.conditions(seed, "label-pair", range(step * count, (step + 1) * count))
        return noise.to(self.noise, non_blocking=True), None if labels is None else labels.to(
            self.noise.device, non_blocking=True
        )

    def clear(self) -> None:
        self.noise, self.x0 = self.noise[:0], self.x0[:0]
        self.labels = None if self.labels is None else self.labels[:0]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """A checkpoint holds as many pairs as had been made: the buffers take its size before they are filled."""
        for name in ("noise", "x0", "labels"):
            if prefix + name in state_dict and getattr(self, name) is not None:
                setattr(self, name, getattr(self, name).new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


def teacher_solutions(teacher: Denoiser, noise: Tensor, options: PairSource, labels: Tensor | None = None) -> Tensor:
    """x0 (B, ...) at the end of the teacher's ODE from unit `noise` (B, ...), by the options' solver."""
    with spent_on("pairs"):
        return solvers.get(options.solver).sample(teacher, noise, nfe=options.solver_nfe, condition=labels)
