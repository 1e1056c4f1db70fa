"""A student of n steps, each taught to land on a true path: the distillation that Bespoke solvers are compared with.

shaul2024bespoke (arXiv:2310.19075), appendix K.4: its targets are the paths that a Bespoke solver is fitted to, its
loss the local errors of its steps, and its sampler Euler's method on the flow, in n evaluations. Of the appendix only
this outline is known to us: steps even in flow time, distance and optimiser are ours.
"""

import copy

import torch
from torch import Tensor

from ..denoiser import Condition, Denoiser
from ..learned_solvers.ground_truth import Flow, GroundTruth
from ..method import Draws
from ..nfe import UnreachableNFE, whole
from ..paths import FlowOT
from ..randomness import generator
from ..specs.knowledge import KnowledgeOptions
from .distances import DISTANCES, Distance, l2
from .student import StudentMethod


def euler_step(flow: Flow, x: Tensor, r: Tensor, s: Tensor, condition: Condition = None) -> Tensor:
    """x_s = x_r + (s - r) u(x_r, r) for x (B, ...) at flow times r < s, each (): DDIM's step."""
    return x + (s - r).to(x, non_blocking=True) * flow.velocity(x, r, condition)


def landing_loss(flow: Flow, r: Tensor, truth: Tensor, condition: Condition = None, distance: Distance = l2) -> Tensor:
    """sum_i dist(step_i(x(r_i)), x(r_{i+1})), per sample (B,): each step starts on the true path and should end on it.

    r: flow times (n + 1,); truth: the true path there (n + 1, B, ...).
    """
    landings = [euler_step(flow, truth[i], r[i], r[i + 1], condition) for i in range(len(r) - 1)]
    return torch.stack([distance(x, end) for x, end in zip(landings, truth[1:], strict=True)]).sum(0)


class KnowledgeSteps(StudentMethod):
    """Trained on the paths, and charged for them, as Bespoke is: seeds, lots and their share of the budget agree."""

    def __init__(self, teacher: Denoiser, options: KnowledgeOptions, seed: int = 0) -> None:
        if teacher.sample_shape is None:
            raise ValueError("knowledge distillation needs the teacher's sample_shape: it draws its own noise")
        super().__init__(teacher, copy.deepcopy(teacher.unwrapped()), options, seed)
        self.options, self.wanted = options, options.truth
        self.flow = Flow.of(teacher, FlowOT())
        labels = teacher.conditions(seed, "label-trajectory", range(self.wanted.trajectories))
        self.truth = GroundTruth(self.wanted.trajectories, self.wanted.nodes, teacher.sample_shape, labels)
        self.times = torch.linspace(0, 1, options.steps + 1, dtype=torch.float64)

    def next_lot(self) -> int:
        """How many true paths to solve before the next step."""
        return self.truth.next_lot(self.wanted.share, self.spent)

    def step_kind(self, step: int) -> str:
        return f"{self.truth.step_kind(self.next_lot())}step"

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if lot := self.next_lot():
            self.truth.solve_next(self.flow, self.seed, lot, self.wanted.tolerance)
        rng, device = generator(self.seed, "train", int(batch["step"])), self.truth.states.device
        rows = torch.randint(int(self.truth.solved), (self.batch_size,), generator=rng).to(device, non_blocking=True)
        truth, _ = self.truth.at(self.times.to(device, non_blocking=True), rows)
        distance = DISTANCES[self.options.distance]
        return landing_loss(self._flow_of(self.student), self.times, truth, self.truth.labels_of(rows), distance).mean()

    def _flow_of(self, student: Denoiser) -> Flow:
        """The student's flow, in the teacher's flow time."""
        return Flow(student.on(self.flow.denoiser.path), self.flow.span)

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 by Euler's method on the student's flow. UnreachableNFE for another NFE than its steps."""
        if whole(nfe) != self.options.steps:
            raise UnreachableNFE(f"this student has {self.options.steps} steps, an evaluation each")
        flow = self._flow_of(self.averaged_student)
        x = flow.start(noise)
        for r, s in zip(self.times[:-1], self.times[1:], strict=True):
            x = euler_step(flow, x, r, s, condition)
        return x
