"""Progressive distillation (salimans2022progressive, arXiv:2202.00512): algorithm 2, weights of table 1.

A student of N steps is taught that one of its DDIM steps equals two of a teacher of 2N steps; it is the
teacher of the next student, which has half its steps. One run makes all of them. Target and loss are in
algorithm 2, the sampler is DDIM (song2021denoising, arXiv:2010.02502, eq. 12 without noise).
"""

import copy
from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from .. import solvers
from ..denoiser import Clipped, Condition, Denoiser, EDMDenoiser, NetworkDenoiser
from ..ema import Average, ramped_ema
from ..method import Draws
from ..nfe import whole
from ..paths import EDM, Path, VPCosine
from ..randomness import generator
from ..solvers import grids
from ..solvers.base import Solver
from ..specs.progressive import ProgressiveOptions, halvings
from ..specs.solver import Grid
from ..uses import spent_on
from .distances import l2, snr_weight
from .student import AdamStudent

TRAINING_GRIDS = {
    "edm": Grid(spacing="karras", rho=7, end="min"),
    "vp-cosine": Grid(spacing="uniform", end="zero"),
}
"""The steps that are halved. On the paper's path the last ends at clean data, where the target is the
teacher's second prediction; on EDM's it ends at sigma_min (openai/consistency_models, progdist_losses)."""


def halved_step(teacher: Denoiser, x_t: Tensor, t: Tensor, m: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
    """The x0 with which one DDIM step t -> s lands where the teacher's two, t -> m -> s, do (algorithm 2)."""
    path = teacher.path
    x_m = path.ddim_step(x_t, teacher(x_t, t, condition), t, m)
    x_s = path.ddim_step(x_m, teacher(x_m, m, condition), m, s)
    return path.x0_of_step(x_t, x_s, t, s)


def progressive_loss(
    student: Denoiser,
    teacher: Denoiser,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    m: Tensor,
    s: Tensor,
    weight: str = "truncated-snr",
    sigma_data: float = 0.5,
    condition: Condition = None,
) -> Tensor:
    """w(SNR_t) |D(x_t, t) - x0~|^2 per sample (B,), mean over pixels (algorithm 2); t, m, s (B,): start, middle, end.

    The paper's losses on eps and v (table 1) are weights on x0 for every kind of network output: eps "snr", the
    larger of both "truncated-snr", v "snr+1".
    """
    x_t = teacher.path.noisy(x0, noise, t)
    with torch.no_grad(), spent_on("teacher"):
        target = halved_step(teacher, x_t, t, m, s, condition)
    w = snr_weight(weight, teacher.path.noise_level(t), sigma_data)
    return w.to(x0, non_blocking=True) * l2(student(x_t, t, condition), target)


@lru_cache
def _times(path: Path, name: str, steps: int) -> Tensor:
    return grids.times(TRAINING_GRIDS[name], path, 2 * steps)


def step_times(path: Path, name: str, steps: int, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(t, m, s) of student steps `index` (B,) of `steps`, 0 the noisiest; m is the teacher's time between."""
    times = _times(path, name, steps).to(index.device, non_blocking=True)
    return times[2 * index], times[2 * index + 1], times[2 * index + 2]


def sampler(name: str, end: str = "zero") -> Solver:
    """DDIM over the students' grid, its last step to clean data ("zero") or to the path's t_min ("min")."""
    solver = solvers.get("euler", grid=TRAINING_GRIDS[name].model_copy(update={"end": end}))
    assert isinstance(solver, Solver)
    return solver


def working_path(name: str, teacher: Denoiser) -> Path:
    """The paper's path, or EDM's with the teacher's own range of noise levels."""
    if name == "vp-cosine":
        return VPCosine()
    return teacher.path if isinstance(teacher.path, EDM) else EDM()


class Progressive(AdamStudent):
    """Trained once; one student for each NFE that the halvings pass through.

    A phase makes one student and ends when its share of the budget is used. The phase and every student so
    far are part of the state, so that a resumed run goes on where it was.
    """

    phase: Tensor
    on_host = ("phase",)

    def __init__(self, teacher: Denoiser, options: ProgressiveOptions, seed: int = 0) -> None:
        network = teacher.unwrapped()
        if not isinstance(network, EDMDenoiser | NetworkDenoiser):
            raise ValueError("progressive distillation copies its teacher: it needs a network, not a closed form")
        if options.weight == "karras" and not isinstance(network, EDMDenoiser):
            raise ValueError("weight karras needs the sigma_data of an EDM teacher: choose truncated-snr")
        path = working_path(options.path, teacher)
        super().__init__(teacher, copy.deepcopy(network).on(path), options, seed)
        self.path = path
        self.options = options
        self.gradient_clip = options.gradient_clip
        self.batch_size = options.batch
        self.sigma_data = network.sigma_data if isinstance(network, EDMDenoiser) else 1.0
        self.averages = nn.ModuleDict({str(n): Average(self.student, ramped_ema(options.ema)) for n in options.steps})
        self.register_buffer("phase", torch.tensor(0))

    def train(self, mode: bool = True) -> "Progressive":
        """Without dropout: the paper's students have none, and a teacher's answer must not change."""
        super().train(mode)
        self.student.eval()
        self.averages.eval()
        return self

    def student_of(self, steps: int) -> Denoiser:
        """The averaged student of so many steps."""
        denoiser = self._average(steps).module
        assert isinstance(denoiser, Denoiser)
        return denoiser

    def _average(self, steps: int) -> Average:
        average = self.averages[str(steps)]
        assert isinstance(average, Average)
        return average

    def phase_at(self, spent: float) -> int:
        """The phase that a step belongs to before which this share of the budget is used."""
        return min(bisect_right(self.options.ends, spent), len(self.options.steps) - 1)

    def finished_nfes(self, spent: float) -> tuple[int, ...]:
        return tuple(n for n, end in zip(self.options.steps, self.options.ends, strict=True) if end <= spent)

    def step_kind(self, step: int) -> str:
        """The suite's teacher need not cost what its copies do (guidance takes two forwards)."""
        return "first phase" if self.phase_at(self.spent) == 0 else "later phases"

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        phase = self.phase_at(self.spent)
        if phase == int(self.phase):
            return
        if phase > int(self.phase) + 1:
            raise self._too_small(int(self.phase) + 1)
        # The next student starts from its teacher, with an optimiser that knows nothing of the last phase.
        self.student.load_state_dict(self.student_of(self.options.steps[phase - 1]).state_dict())
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        optimizer.state.clear()
        self.phase.fill_(phase)

    def on_train_end(self) -> None:
        if int(self.phase) < len(self.options.steps) - 1:
            raise self._too_small(int(self.phase) + 1)

    def _too_small(self, phase: int) -> ValueError:
        return ValueError(
            f"the budget leaves no step to train the {self.options.steps[phase]}-step student: "
            "raise the budget, or lower batch or start_steps"
        )

    def indices(self, batch: Mapping[str, Any], steps: int) -> tuple[torch.Generator, Tensor]:
        """The step's generator, with the samples' steps (B,) of so many drawn from it."""
        rng = generator(self.seed, "train", int(batch["step"]))
        return rng, torch.randint(steps, (len(batch["x0"]),), generator=rng)

    def drawn(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The noise, which is the same after the indices of any phase."""
        rng, _ = self.indices(batch, self.options.steps[0])
        return {"noise": torch.randn(batch["x0"].shape, generator=rng)}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x0, phase = batch["x0"], int(self.phase)
        steps = self.options.steps[phase]
        _, index = self.indices(batch, steps)
        noise = self.draws_of(batch)["noise"].to(x0, non_blocking=True)
        teacher = self.student_of(2 * steps) if phase else self.teacher.on(self.path)
        times = torch.stack(step_times(self.path, self.options.path, steps, index))
        t, m, s = times.to(x0.device, non_blocking=True)
        weight = self.options.weight
        condition = self.condition_of(batch)
        losses = progressive_loss(self.student, teacher, x0, noise, t, m, s, weight, self.sigma_data, condition)
        return losses.mean()

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """From 1 to 0 in each phase, as its share of the budget runs out."""
        phase = self.phase_at(spent)
        start, end = (0.0, *self.options.ends)[phase : phase + 2]
        return (end - spent) / (end - start)

    def update_averages(self) -> None:
        self._average(self.options.steps[int(self.phase)]).update_parameters(self.student)

    def result(self) -> nn.Module:
        """The students by NFE."""
        return nn.ModuleDict({str(n): self.student_of(n) for n in self.options.steps})

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """DDIM with the student of so many steps. Raises UnreachableNFE where the halvings pass through none."""
        nfe = whole(nfe)
        student = self.student_of(halvings(nfe, self.options.steps))
        bound = self.teacher.sample_bound
        if self.options.clip_x0 and bound is not None:
            student = Clipped(student, bound)
        return sampler(self.options.path, self.options.end).sample(student, noise, nfe=nfe, condition=condition)
