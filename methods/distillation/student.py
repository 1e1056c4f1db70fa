"""What most distillations share: one student network, its average, and how it is optimised."""

from typing import Protocol

import torch
from torch import nn

from ..denoiser import Denoiser
from ..ema import averaged, ramped_ema
from ..method import Method


class StudentOptions(Protocol):
    """The options that every student has."""

    @property
    def ema(self) -> float: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def betas(self) -> tuple[float, float]: ...

    @property
    def warmup_steps(self) -> int: ...

    @property
    def batch(self) -> int: ...


class StudentMethod(Method):
    """A student that Adam trains, with a warm-up in steps and then linearly to 0 as the budget runs out; what is
    sampled from is the average of its weights.
    """

    def __init__(self, teacher: Denoiser, student: Denoiser, options: StudentOptions, seed: int) -> None:
        super().__init__(teacher, seed)
        self._shared = options
        self.batch_size = options.batch
        self.student = student.requires_grad_(True).train()
        self.average = averaged(self.student, ramped_ema(options.ema))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(
            self.student.parameters(), self._shared.learning_rate, betas=self._shared.betas, fused=True
        )

    def learning_rate_factor(self, step: int, spent: float) -> float:
        return min(1.0, (step + 1) / max(1, self._shared.warmup_steps)) * (1 - spent)

    def update_averages(self) -> None:
        self.average.update_parameters(self.student)

    @property
    def averaged_student(self) -> Denoiser:
        """What is sampled from."""
        assert isinstance(self.average.module, Denoiser)
        return self.average.module

    def result(self) -> nn.Module:
        return self.averaged_student
