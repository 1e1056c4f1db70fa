"""What most distillations share: one student network, its average, and how it is optimised."""

from typing import Protocol

import torch
from torch import nn

from ..adam import Adam
from ..denoiser import Denoiser, EDMDenoiser
from ..ema import Average, ramped_ema
from ..method import Method
from ..paths import EDM
from ..specs.base import StudentOptions


def preconditioned_network(teacher: Denoiser, method: str) -> EDMDenoiser:
    """The preconditioned network behind the teacher, which a student copies; ValueError if there is none."""
    network = teacher.unwrapped()
    if not isinstance(network, EDMDenoiser) or not isinstance(teacher.path, EDM):
        raise ValueError(f"{method} starts from a teacher network with EDM preconditioning")
    return network


def clip_gradient(optimizer: torch.optim.Optimizer, largest: float | None) -> None:
    """Scale the gradient of what the optimiser trains down to the norm `largest`, if it is larger; None: any norm."""
    if largest is not None:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], largest)


class AdamOptions(Protocol):
    """What Adam is told."""

    @property
    def learning_rate(self) -> float: ...

    @property
    def betas(self) -> tuple[float, float]: ...


class AdamStudent(Method):
    """A student that Adam trains; `gradient_clip` is the largest norm of its gradient, None: any."""

    gradient_clip: float | None = None

    def __init__(self, teacher: Denoiser, student: Denoiser, adam: AdamOptions, seed: int) -> None:
        if teacher.conditional and not teacher.unwrapped().conditional:
            raise ValueError("students copy the teacher's network, which knows no labels: its classifier tells it them")
        super().__init__(teacher, seed)
        self.student = student.requires_grad_(True).train()
        self._adam = adam

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return Adam(self.student.parameters(), self._adam.learning_rate, self._adam.betas)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        clip_gradient(optimizer, self.gradient_clip)


class StudentMethod(AdamStudent):
    """Its learning rate warms up in steps and then falls linearly to 0 as the budget runs out; what is sampled
    from is the average of its weights.
    """

    def __init__(self, teacher: Denoiser, student: Denoiser, options: StudentOptions, seed: int) -> None:
        super().__init__(teacher, student, options, seed)
        self._warmup_steps = max(1, options.warmup_steps)
        self.batch_size = options.batch
        self.average = Average(self.student, ramped_ema(options.ema))

    def learning_rate_factor(self, step: int, spent: float) -> float:
        return min(1.0, (step + 1) / self._warmup_steps) * (1 - spent)

    def update_averages(self) -> None:
        self.average.update_parameters(self.student)

    @property
    def averaged_student(self) -> Denoiser:
        """What is sampled from."""
        assert isinstance(self.average.module, Denoiser)
        return self.average.module

    def result(self) -> nn.Module:
        return self.averaged_student
