"""TRACT (berthelot2023tract, arXiv:2303.04248): transitive closure time-distillation.

A phase turns a teacher of T_in steps into a student of T_out. From every teacher time inside one of the
student's intervals, one DDIM step of the student is to reach the interval's lower end. Its target is a
teacher step followed by the student's own jump over the rest, so that jumps close over teacher steps. Target
eq. 6 to 9, training algorithm 1 (numbers from a summary of the paper, unchecked); what is drawn, the weights and
the averages are those of the authors' tc_distill.py and tc_distill_edm.py. The sampler is DDIM.
"""

import copy
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..denoiser import Clipped, Condition, Denoiser, EDMDenoiser
from ..ema import Average, Weights, bias_corrected_ema
from ..method import Draws
from ..nfe import whole
from ..paths import EDM, PATHS, Path, expand
from ..randomness import generator
from ..scalings import edm_scalings
from ..solvers.base import Run, nodes
from ..solvers.euler import euler
from ..solvers.grids import karras
from ..specs.solver import SolverOptions
from ..specs.tract import TractOptions, phase_end
from ..uses import spent_on
from .distances import snr_weight
from .student import AdamStudent, preconditioned_network

Predict = Callable[[Tensor, Tensor], Tensor]
"""(x, t) -> x0."""
Step = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x at t, t, s) -> x at s."""


def timesteps(path: Path, T: int) -> Tensor:
    """The T + 1 ascending times that all phases share: 0 and T nodes of EDM's rho = 7 curve, or t_max i/T."""
    u = torch.linspace(0.0, 1.0, T, dtype=torch.float64)
    if isinstance(path, EDM):
        return torch.cat([torch.zeros(1, dtype=torch.float64), karras(u, path.t_min, path.t_max)])
    return torch.arange(T + 1, dtype=torch.float64) / T * path.t_max


@dataclass(frozen=True)
class Phase:
    """From `teacher_steps` to `student_steps` over T timesteps; each number of steps divides the one before it.

    A group is the teacher's steps inside one step of the student, teacher_steps/student_steps of them.
    """

    T: int
    teacher_steps: int
    student_steps: int

    def indices(self, group: Tensor, k: Tensor) -> Tensor:
        """The timesteps t, t' and s, (3, B): where the teacher's step starts and ends, and where the group ends.

        group in 1..student_steps counts from clean data; k in 0..teacher_steps/student_steps - 1 counts teacher
        steps down from the group's noisiest time. t = group T/student_steps - k T/teacher_steps.
        """
        teacher_step, student_step = self.T // self.teacher_steps, self.T // self.student_steps
        t = group * student_step - k * teacher_step
        return torch.stack([t, t - teacher_step, (group - 1) * student_step])

    def random_indices(self, count: int, rng: torch.Generator) -> Tensor:
        """`indices` of `count` random pairs: every group and every k are as likely."""
        group = torch.randint(1, self.student_steps + 1, (count,), generator=rng)
        k = torch.randint(self.teacher_steps // self.student_steps, (count,), generator=rng)
        return self.indices(group, k)


def ddim_step(path: Path, predict: Predict, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    return path.ddim_step(x, predict(x, t), t, s)


def heun_step(path: Path, predict: Predict, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """On EDM's path, its algorithm 1 with a time of its own for each sample: a step to 0 is Euler's, at the same cost.

    The second evaluation is made at t_min then, and not used.
    """
    eps = path.eps(x, predict(x, t), t)
    x_s = x + expand(s - t, x) * eps
    above = s.clamp(min=path.t_min)
    eps_s = path.eps(x_s, predict(x_s, above), above)
    return torch.where(expand(s, x) > 0, x + expand(s - t, x) * (eps + eps_s) / 2, x_s)


def tract_target(path: Path, teacher_step: Step, self_teacher: Predict, x_t: Tensor, times: Tensor) -> Tensor:
    """The x0 with which one DDIM step t -> s goes where the teacher's t -> t' and the self-teacher's t' -> s do.

    Eq. 6 to 9. times: t, t' and s, (3, B). At t' = s the self-teacher has no part; at t' = 0 the target is the
    teacher's denoiser.
    """
    t, middle, s = times
    with torch.no_grad():
        with spent_on("teacher"):
            x_teacher = teacher_step(x_t, t, middle)
        with spent_on("target"):
            # Noise 0 is s too: what is evaluated there, at t_min instead, is not used.
            x_s = ddim_step(path, self_teacher, x_teacher, middle.clamp(min=path.t_min), s)
        x_s = torch.where(expand(middle - s, x_t) == 0, x_teacher, x_s)
        return path.x0_of_step(x_t, x_s, t, s)


def vp_loss(path: Path, student: Predict, target: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """E max(SNR, 1) |D(x_t, t) - target|^2, summed over a sample's dimensions (the released code's weight)."""
    weight = snr_weight("truncated-snr", path.noise_level(t), 1.0)
    return (weight * (student(x_t, t) - target).square().flatten(1).sum(1)).mean()


def edm_loss(sigma_data: float, student: Predict, target: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """E |(D(x_t, t) - target)/c_out|^2, averaged over dimensions: EDM's weight, 1 in the network's own output."""
    _, c_out, _ = edm_scalings(t, sigma_data)
    return ((student(x_t, t) - target) / expand(c_out, x_t)).square().mean()


class Tract(AdamStudent):
    """One run through all phases; each leaves a student, sampled with as many evaluations as it has steps.

    The target's algebra is in float64 (at the clean end it divides by what is left of the noise). Which
    phase it is follows from the share of the budget spent, how far into it from its average's counter.
    """

    student: EDMDenoiser
    phase_start: Tensor
    on_host = ("phase_start",)

    def __init__(self, teacher: Denoiser, options: TractOptions, seed: int = 0) -> None:
        network = preconditioned_network(teacher, "TRACT")
        super().__init__(teacher, copy.deepcopy(network), options, seed)
        self.options = options
        self.gradient_clip = options.gradient_clip
        self.batch_size = options.batch
        self.path: Path = teacher.path if options.path == "edm" else PATHS[options.path]
        self.times = timesteps(self.path, options.teacher_steps)
        self.bound = teacher.sample_bound if options.clip_x0 else None
        self.self_teacher = Average(self.student, bias_corrected_ema(options.self_teacher_ema))
        self.averages = nn.ModuleDict({str(n): Average(self.student, self._update_average) for n in options.phases})
        self.register_buffer("phase_start", torch.zeros((), dtype=torch.float64))

    def train(self, mode: bool = True) -> "Tract":
        """Without dropout, as the paper's students."""
        super().train(mode)
        self.student.eval()
        self.self_teacher.eval()
        self.averages.eval()
        return self

    def phase_at(self, spent: float) -> int:
        """The phase of a step before which this share of the budget is used, from 0."""
        return min(bisect_right(self.options.ends, spent), len(self.options.phases) - 1)

    def share_of(self, number: int) -> tuple[float, float]:
        """The shares of the budget that are used when this phase begins and when it ends."""
        start, end = (0.0, *self.options.ends)[number : number + 2]
        return start, end

    def finished_nfes(self, spent: float) -> tuple[int, ...]:
        return tuple(n for n, end in zip(self.options.phases, self.options.ends, strict=True) if end <= spent)

    def phase(self) -> Phase:
        return self._phase(self.phase_at(self.spent))

    def _phase(self, number: int) -> Phase:
        steps = (self.options.teacher_steps, *self.options.phases)
        return Phase(steps[0], steps[number], steps[number + 1])

    def steps_into(self, number: int) -> int:
        """Optimiser steps that this phase has made: its average counts them."""
        return self.average(number).n_averaged

    def average(self, number: int) -> Any:
        return self.averages[str(self.options.phases[number])]

    def teacher_step(self, condition: Condition = None) -> Step:
        """The first phase's teacher is a denoiser on an ODE, a later one's the student that the last phase left."""
        number = self.phase_at(self.spent)
        if number == 0 and self.options.path == "edm":
            step = heun_step if self.options.ode_step == "heun" else ddim_step
            return partial(step, self.path, self.teacher.given(condition))
        teacher = self.teacher if number == 0 else self.average(number - 1).module
        return partial(ddim_step, self.path, self.jump(teacher, condition))

    def jump(self, denoiser: Denoiser, condition: Condition) -> Denoiser:
        """What a jump's DDIM step takes for x0: the denoiser's on this method's path, within the data's range."""
        denoiser = denoiser.on(self.path).given(condition)
        return denoiser if self.bound is None else Clipped(denoiser, self.bound)

    def indices(self, batch: Mapping[str, Any], phase: Phase) -> tuple[torch.Generator, Tensor]:
        """The step's generator, with the indices of the samples' jumps drawn from it."""
        rng = generator(self.seed, "train", int(batch["step"]))
        return rng, phase.random_indices(len(batch["x0"]), rng)

    def drawn(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The noise, which is the same after the indices of any phase."""
        rng, _ = self.indices(batch, self._phase(0))
        return {"noise": torch.randn(batch["x0"].shape, generator=rng)}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x0, condition = batch["x0"].double(), self.condition_of(batch)
        t, _, _ = times = self.times[self.indices(batch, self.phase())[1]].to(x0.device, non_blocking=True)
        x_t = self.path.noisy(x0, self.draws_of(batch)["noise"].to(x0, non_blocking=True), t)
        lagging: Any = self.self_teacher.module
        target = tract_target(self.path, self.teacher_step(condition), self.jump(lagging, condition), x_t, times)
        student = self.student.on(self.path).given(condition)
        if self.options.path == "edm":
            return edm_loss(self.student.sigma_data, student, target, x_t, t)
        return vp_loss(self.path, student, target, x_t, t)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        number = self.phase_at(self.spent)
        if self.steps_into(number) == 0:
            self._require_trained(number)
            self.phase_start.fill_(self.spent)
            if self.options.restart:
                for optimizer in self.trainer.optimizers:
                    optimizer.state.clear()

    def on_train_end(self) -> None:
        self._require_trained(len(self.options.phases))

    def _require_trained(self, phases: int) -> None:
        """ValueError if one of the first `phases` phases made no step, so that its student would be the teacher."""
        for number in range(phases):
            if self.steps_into(number) == 0:
                raise ValueError(
                    f"the budget buys no step of the phase to {self.options.phases[number]} steps: "
                    "give a larger budget, a smaller batch or fewer phases"
                )

    def learning_rate_factor(self, step: int, spent: float) -> float:
        """Warm-up in steps, then linear to 0 or constant: in each phase anew if options.restart."""
        if self.options.restart:
            number = self.phase_at(spent)
            start, end = self.share_of(number)
            step, spent = self.steps_into(number), (spent - start) / (end - start)
        decay = 1 - spent if self.options.learning_rate_decay == "linear" else 1.0
        return min(1.0, (step + 1) / max(1, self.options.warmup_steps)) * decay

    def step_kind(self, step: int) -> str:
        number = self.phase_at(self.spent)
        return f"to {self.options.phases[number]} steps"

    def update_averages(self) -> None:
        self.self_teacher.update_parameters(self.student)
        self.average(self.phase_at(self.spent)).update_parameters(self.student)

    def _update_average(self, average: Weights, current: Weights, count: int) -> None:
        """Bias-corrected with mu = r^(1/steps of the phase), as many as its first `count` steps let expect."""
        number = self.phase_at(self.spent)
        start, end = self.share_of(number)
        progress = (self.spent - float(self.phase_start)) / (end - start)
        bias_corrected_ema(self.options.ema_per_phase ** (progress / count))(average, current, count)

    def result(self) -> nn.Module:
        """The students by their number of steps."""
        return nn.ModuleDict({str(n): self.average(i).module for i, n in enumerate(self.options.phases)})

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 by `nfe` DDIM steps of the student that has as many. UnreachableNFE where there is none."""
        nfe = whole(nfe)
        number = self.options.phases.index(phase_end(nfe, self.options.phases))
        predict = self.jump(self.average(number).module, condition)
        times = self.times[:: self.options.teacher_steps // nfe].flip(0)
        run = Run(predict, self.path, nodes(self.path, times, noise), SolverOptions())
        x0 = euler(run, run.nodes[0].sigma * noise)
        return x0 if self.bound is None else x0.clamp(-self.bound, self.bound)
