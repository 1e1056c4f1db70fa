"""Knowledge distillation (luhman2021knowledge, arXiv:2101.02388): the teacher's solution, in one evaluation.

The teacher's deterministic sampler makes a set of pairs (z, x); the student, a copy of the teacher, is
trained to give x from z by plain regression. Target (DDIM's sample), loss and one-step sampler follow the
authors' code (section and equation numbers unchecked). Students of several steps are in knowledge_steps.py.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from ..denoiser import Condition, Denoiser
from ..method import Draws
from ..nfe import one_evaluation
from ..paths import expand
from ..randomness import generator
from ..specs.knowledge import KnowledgeOptions
from .distances import DISTANCES
from .knowledge_steps import KnowledgeSteps
from .pairs import Pairs, teacher_solutions
from .student import StudentMethod


def knowledge_loss(student: Callable[[Tensor], Tensor], noise: Tensor, x0: Tensor, distance: str = "l2") -> Tensor:
    """dist(student(z), x) per sample (B,), for pairs (z, x) = (noise, x0), each (B, ...)."""
    return DISTANCES[distance](student(noise), x0)


def one_step(denoiser: Denoiser, noise: Tensor, condition: Condition = None) -> Tensor:
    """D(sigma_max z, t_max): the denoiser read as a map from unit noise (B, ...) to data."""
    t = denoiser.path.t_max
    return denoiser(expand(denoiser.path.sigma(t), noise) * noise, t, condition)


class Knowledge(StudentMethod):
    """The first share of the budget makes pairs and learns from each at once; the rest revisits them."""

    def __init__(self, teacher: Denoiser, options: KnowledgeOptions, seed: int = 0) -> None:
        super().__init__(teacher, copy.deepcopy(teacher.unwrapped()), options, seed)
        self.options = options
        self.pairs = Pairs.of(teacher, "knowledge distillation")

    def step_kind(self, step: int) -> str:
        return "pairs" if self.spent < self.options.pairs_share else "step"

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        step = int(batch["step"])
        if self.step_kind(step) == "pairs":
            noise, labels = self.pairs.starts(self.teacher, self.seed, step, self.batch_size)
            x0 = teacher_solutions(self.teacher, noise, self.options, labels)
            self.pairs.add(noise, x0, labels)
        else:
            noise, x0, labels = self.pairs.batch(self.batch_size, generator(self.seed, "train", step))
        return knowledge_loss(lambda z: one_step(self.student, z, labels), noise, x0, self.options.distance).mean()

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 in the one evaluation that the student has; UnreachableNFE for another number."""
        one_evaluation(nfe)
        return one_step(self.averaged_student, noise, condition)


def knowledge(teacher: Denoiser, options: KnowledgeOptions, seed: int = 0) -> Knowledge | KnowledgeSteps:
    """The student that the options ask for."""
    return Knowledge(teacher, options, seed) if options.loss == "sample" else KnowledgeSteps(teacher, options, seed)
