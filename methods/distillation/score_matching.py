"""What SIM, SiD, Diff-Instruct and DMD share: a one-step student and an online network for the score it induces.

The student makes x0 = G(z); the fake-score network D_psi is trained on these samples as a denoiser, so that it
follows the score of the student's noised distribution. What the student does with D_psi and the teacher's D is
each method's own loss. No data are read. The papers are SIM (luo2024one, arXiv:2410.16794, algorithm 1), SiD
(zhou2024score, arXiv:2404.04057), Diff-Instruct (luo2023diff, arXiv:2305.18455) and DMD (yin2024one,
arXiv:2311.18828, algorithm 1); the alternation is theirs, the fake score's loss EDM's (karras2022elucidating,
arXiv:2206.00364, table 1).
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..adam import Adam
from ..denoiser import Condition, Denoiser, EDMDenoiser
from ..method import Draws, Watched
from ..nfe import one_evaluation
from ..paths import expand
from ..randomness import generator
from ..solvers.grids import karras
from ..specs.score_matching import ScoreMatchingOptions
from ..uses import spent_on
from .student import StudentMethod, clip_gradient

FAKE, GENERATOR = "fake score", "generator"
Levels = tuple[float, float] | None
COLLAPSED, EXPLODED = 0.01, 100.0
"""Spread and size of the student's samples, in units of the data's spread, beyond which it has failed."""


def exploded(size: float) -> str | None:
    """Of the size of a student's samples, in units of the data's spread."""
    return f"the student's samples have grown to {size:.3g} times the data's spread" if size > EXPLODED else None


def collapsed(spread: float) -> str | None:
    """Of the spread between a student's samples, in units of the data's."""
    return "collapsed: the student makes one and the same sample from every noise" if spread < COLLAPSED else None


class Noised(NamedTuple):
    """What the student's loss is made of: its samples x0, x = x0 + sigma eps, and both denoisers' values of x."""

    x0: Tensor
    x: Tensor
    sigma: Tensor
    fake: Tensor
    teacher: Tensor


def fake_loss(
    fake: Callable[[Tensor, Tensor], Tensor], x0: Tensor, sigma: Tensor, eps: Tensor, sigma_data: float
) -> Tensor:
    """EDM's loss on the student's samples, (1/sigma_data^2 + 1/sigma^2) |D_psi(x; sigma) - x0|^2, per sample (B,)."""
    error = fake(x0 + expand(sigma, x0) * eps, sigma) - x0
    return (sigma_data**-2 + sigma**-2) * error.square().flatten(1).sum(1)


class Part(NamedTuple):
    """Part of a batch: its rows, the student's noise, the level and the noise added to its samples, labels if any."""

    rows: Tensor
    z: Tensor
    sigma: Tensor
    eps: Tensor
    labels: Tensor | None


class ScoreMatching(StudentMethod):
    """Updates of the two networks alternate, a training step each, with an optimiser each.

    through_scores: whether the student's gradient passes through both denoisers by way of x.
    """

    through_scores: bool

    def __init__(self, teacher: Denoiser, options: ScoreMatchingOptions, seed: int = 0) -> None:
        network = teacher.unwrapped()
        if not isinstance(network, EDMDenoiser):
            raise ValueError("score matching starts from a teacher network with EDM preconditioning")
        if network.sample_shape is None:
            raise ValueError("score matching needs the teacher's sample_shape: it draws its own noise")
        super().__init__(teacher, copy.deepcopy(network), options, seed)
        self.automatic_optimization = False
        self.fake = copy.deepcopy(network).requires_grad_(True)
        self.options = options
        self.shape, self.path, self.sigma_data = network.sample_shape, network.path, network.sigma_data
        self.sigma_init = options.sigma_init or self.path.t_max
        self._kind = FAKE
        self._watched: list[Watched] = []

    def student_loss(self, noised: Noised) -> Tensor:
        """Per sample (B,): its gradient with respect to the student is the method."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        rates = ((self.student, self.options.learning_rate), (self.fake, self.options.fake_learning_rate))
        return [Adam(net.parameters(), rate, self.options.betas) for net, rate in rates]

    def step_kind(self, step: int) -> str:
        turn = step % (self.options.fake_updates + 1)
        return FAKE if self.spent < self.options.warm_up or turn < self.options.fake_updates else GENERATOR

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self._kind, self._watched = self.step_kind(int(batch["step"])), []
        optimizers = self.optimizers()
        assert isinstance(optimizers, list)
        student_optimizer, fake_optimizer = optimizers
        if self._kind == FAKE:
            with spent_on("auxiliary"):
                return self._update(self.fake, fake_optimizer, self.fake_loss, batch, self.options.fake_levels)
        return self._update(self.student, student_optimizer, self.loss, batch, self.options.generator_levels)

    def _update(
        self, network: nn.Module, optimizer: Any, loss: Callable[[Part], Tensor], batch: dict[str, Any], levels: Levels
    ) -> Tensor:
        """One optimiser step on the batch's mean loss, its gradient added up over the parts; the loss, ()."""
        self.fake.requires_grad_(network is self.fake).train(network is self.fake)
        total = torch.zeros((), device=self.device)
        for part in self._parts(batch, levels):
            share = loss(part).sum() / self.batch_size
            self.manual_backward(share)
            total += share.detach()
        clip_gradient(optimizer, self.options.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        return total

    def fake_loss(self, part: Part) -> Tensor:
        """Of the fake-score network on new samples of the student, per sample (B,)."""
        with torch.no_grad():
            x0 = self.generate(self.student, part.z, part.labels)
        return fake_loss(self.fake.given(part.labels), x0, part.sigma, part.eps, self.sigma_data)

    def loss(self, part: Part) -> Tensor:
        """Of the student, per sample (B,)."""
        x0 = self.generate(self.student, part.z, part.labels)
        self._watch(x0.detach())
        x = x0 + expand(part.sigma, x0) * part.eps
        with torch.set_grad_enabled(self.through_scores):
            with spent_on("auxiliary"):
                fake = self.fake(x, part.sigma, part.labels)
            with spent_on("teacher"):
                teacher = self.teacher.on(self.path)(x, part.sigma, part.labels)
        return self.student_loss(Noised(x0, x, part.sigma, fake, teacher))

    def drawn(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The student's noise and the one added to its samples; the levels, which come after them, hang on the step."""
        rng = generator(self.seed, "train", int(batch["step"]))
        z, eps = (torch.randn(self.batch_size, *self.shape, generator=rng) for _ in range(2))
        return {"z": z, "eps": eps, "rng": rng}

    def _parts(self, batch: Mapping[str, Any], levels: Levels) -> Iterator[Part]:
        """What the step learns from, a function of (seed, step), in as many parts as the options say."""
        n, step, drawn = self.batch_size, int(batch["step"]), self.draws_of(batch)
        z, eps = (drawn[name].to(self.device, non_blocking=True) for name in ("z", "eps"))
        rng = drawn["rng"]
        if levels is None:
            sigma = (self.options.log_sigma_mean + self.options.log_sigma_std * torch.randn(n, generator=rng)).exp()
        else:
            low, high = levels
            sigma = karras(low + (high - low) * torch.rand(n, generator=rng), self.path.t_min, self.path.t_max)
        sigma = sigma.to(self.device, non_blocking=True)
        labels = self.teacher.conditions(self.seed, "label-train", range(step * n, (step + 1) * n))
        labels = None if labels is None else labels.to(self.device, non_blocking=True)
        for rows in torch.arange(n, device=self.device).chunk(self.options.accumulate):
            yield Part(rows, z[rows], sigma[rows], eps[rows], None if labels is None else labels[rows])

    def _watch(self, x0: Tensor) -> None:
        """Note whether the student's samples x0 (b, ...) are still data of any kind."""
        self._watched.append(Watched(x0.square().mean().sqrt() / self.sigma_data, exploded))
        if self.spent > 0.5 and len(x0) > 1:
            self._watched.append(Watched(x0.std(0).square().mean().sqrt() / self.sigma_data, collapsed))

    def watched(self) -> list[Watched]:
        return self._watched

    def update_averages(self) -> None:
        if self._kind != FAKE:
            super().update_averages()

    def generate(self, student: Denoiser, z: Tensor, labels: Condition = None) -> Tensor:
        """G(z) = D(sigma_init z; sigma_init) (B, ...) from unit noise."""
        return student(self.sigma_init * z, self.sigma_init, labels)

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """G(noise), by the averaged student. Raises UnreachableNFE for any NFE but 1."""
        one_evaluation(nfe)
        return self.generate(self.averaged_student, noise, condition)
