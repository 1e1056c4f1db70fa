"""Distribution matching distillation: DMD2 without its GAN, and the first DMD.

DMD (yin2024one, arXiv:2311.18828): gradient eq. 7 with the weight of eq. 8, the fake score's loss eq. 6, regression
on pairs eq. 9, algorithm 1. DMD2 (yin2024improved, arXiv:2405.14867): no regression, several updates of the fake
score for each of the student (sections unchecked), loss as in edm_guidance.py of the authors' code.
"""

from torch import Tensor

from ..denoiser import Denoiser
from ..randomness import generator
from ..specs.dmd import DMDOptions
from .distances import l2
from .pairs import Pairs, teacher_solutions
from .score_matching import FAKE, GENERATOR, Noised, Part, ScoreMatching

WITH_PAIRS = "generator with new pairs"


def dmd_field(x0: Tensor, fake: Tensor, teacher: Tensor) -> Tensor:
    """(D_psi - D_q)/mean|x0 - D_q|, like x0: the gradient with respect to x0, times its elements (DMD, eq. 7, 8)."""
    size = (x0 - teacher).abs().flatten(1).mean(1)
    return ((fake - teacher) / size.reshape(-1, *[1] * (x0.ndim - 1))).detach()


def dmd_loss(x0: Tensor, fake: Tensor, teacher: Tensor) -> Tensor:
    """|x0 - SG[x0 - field]|^2/2 per sample (B,), its elements' mean: a loss whose gradient is the field."""
    return l2(x0, (x0 - dmd_field(x0, fake, teacher)).detach()) / 2


class DMD(ScoreMatching):
    """One-step student; an update of the fake score takes 4 evaluations per sample, one of the student 5.

    With regression, 3 more for it, and those of the solver for each new pair.
    """

    options: DMDOptions
    through_scores = False

    def __init__(self, teacher: Denoiser, options: DMDOptions, seed: int = 0) -> None:
        super().__init__(teacher, options, seed)
        self.pairs = Pairs.of(teacher, "DMD") if options.regression else None
        self._batch: tuple[Tensor, Tensor, Tensor | None] | None = None

    def step_kind(self, step: int) -> str:
        kind = super().step_kind(step)
        makes = kind == GENERATOR and self.pairs is not None and self.spent < self.options.pairs_share
        return WITH_PAIRS if makes else kind

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        step = int(batch["step"])
        kind = self.step_kind(step)
        if self.pairs is not None and kind != FAKE:
            if kind == WITH_PAIRS:
                noise, labels = self.pairs.starts(self.teacher, self.seed, step, self.batch_size)
                x0 = teacher_solutions(self.teacher, noise, self.options, labels)
                self.pairs.add(noise, x0, labels)
                self._batch = noise, x0, labels
            else:
                self._batch = self.pairs.batch(self.batch_size, generator(self.seed, "train-pairs", step))
        return super().training_step(batch, batch_idx)

    def loss(self, part: Part) -> Tensor:
        loss = super().loss(part)
        if self._batch is None:
            return loss
        noise, x0, labels = self._batch
        own = None if labels is None else labels[part.rows]
        return loss + self.options.regression * l2(self.generate(self.student, noise[part.rows], own), x0[part.rows])

    def student_loss(self, noised: Noised) -> Tensor:
        return dmd_loss(noised.x0, noised.fake, noised.teacher)
