"""DFNO (zheng2023fast, arXiv:2211.13449): the teacher's trajectory, in one evaluation.

From the noise z the student predicts T states of the teacher's ODE at once, the last of them the sample. It is the
teacher's network, run on T copies of z, each told its own noise level, with Fourier layers over the T moments after
its residual blocks; see `networks/over_time.py`. It learns by regression on trajectories that the teacher's sampler
makes. Architecture, loss and weights follow the authors' code (section and equation numbers unchecked).
"""

import copy

import torch
from torch import Tensor

from .. import solvers
from ..denoiser import Condition, Denoiser, EDMDenoiser, Wrapper
from ..method import Draws
from ..networks.over_time import add_layers_over_time
from ..nfe import one_evaluation
from ..randomness import generator
from ..scalings import parameter_dtype, time_dtype
from ..solvers.base import Solver
from ..specs.dfno import DFNOOptions
from ..uses import spent_on
from .distances import Distance, distance, l2
from .pairs import Pairs
from .student import StudentMethod, preconditioned_network


class Recorded(Wrapper):
    """A denoiser that keeps the x at which it was last asked for each time: the states at the nodes of a sampler, in
    their order.

    A node's time is one and the same tensor whenever a sampler asks there: no time is read.
    """

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__(denoiser, denoiser.path)
        self.predicts_eps = denoiser.predicts_eps
        self._asked: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def says_eps(self) -> bool:
        return self.denoiser.says_eps

    @property
    def states(self) -> list[Tensor]:
        return [x for _, x in self._asked.values()]

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self._asked[id(t)] = t, x
        return self.denoiser(x, t, condition)

    def predict_eps(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        self._asked[id(t)] = t, x
        return self.denoiser.eps(x, t, condition)


def moments(teacher: Denoiser, options: DFNOOptions) -> Tensor:
    """The T falling times of a trajectory's states, even among the nodes of the sampler's grid; the last is clean."""
    solver = solvers.get(options.solver)
    assert isinstance(solver, Solver)
    _, times = solver.schedule(teacher.path, options.solver_nfe)
    return times[kept_nodes(len(times) - 1, options.frames)]


def kept_nodes(steps: int, frames: int) -> list[int]:
    """Which of the sampler's nodes 0 to `steps` the moments are; the last is the last."""
    share = torch.arange(1, frames + 1, dtype=torch.float64) / frames
    return (share * steps).round().long().tolist()


def trajectory(teacher: Denoiser, noise: Tensor, options: DFNOOptions, labels: Tensor | None = None) -> Tensor:
    """The states x_i (B, T, ...) at `moments` of the teacher's ODE from unit noise (B, ...), by the sampler chosen."""
    recorded = Recorded(teacher)
    with spent_on("pairs"):
        x0 = solvers.get(options.solver).sample(recorded, noise, nfe=options.solver_nfe, condition=labels)
    states = [*recorded.states, x0]
    return torch.stack([states[i] for i in kept_nodes(len(states) - 1, options.frames)], dim=1)


def trajectory_loss(predicted: Tensor, states: Tensor, weight: Tensor, distance: Distance = l2) -> Tensor:
    """The mean over i of omega_i dist(x_i', x_i), per sample (B,); both (B, T, ...), weight omega (T,)."""
    apart = distance(predicted.flatten(0, 1), states.flatten(0, 1)).unflatten(0, states.shape[:2])
    return (weight.to(apart, non_blocking=True) * apart).mean(1)


def moment_weight(name: str, level: Tensor) -> Tensor:
    """omega of the moments at these noise levels sigma/alpha, in their shape."""
    return {"uniform": torch.ones_like(level), "snr": (1 / level).clamp(1, 1e4)}[name]


class TrajectoryPredictor(Denoiser):
    """z -> (x_1, ..., x_T) / sqrt(1 + sigma_i^2), the teacher's states in unit scale: T forwards in one evaluation.

    The network's input is the same at all moments, pure noise at the scale that its preconditioning has there; moment
    i is told the level sigma_i, the last, clean one the smallest that the teacher knows. Without the layers over time
    each is the teacher's raw network. As a denoiser it is the last state, for pure noise.
    """

    levels: Tensor

    def __init__(self, teacher: EDMDenoiser, levels: Tensor, modes: int, rng: torch.Generator) -> None:
        super().__init__(teacher.path)
        self.network = copy.deepcopy(teacher.network)
        add_layers_over_time(self.network, len(levels), modes, rng)
        self.forwards_per_evaluation = len(levels)
        self.c_in = float(teacher.scalings(self.path.t_max)[2])
        self.register_buffer("levels", levels, persistent=False)

    def trajectory(self, z: Tensor, condition: Condition = None) -> Tensor:
        """The T states (B, T, ...) in unit scale from unit noise z (B, ...)."""
        return self._counted(self._states, self.path.t_max * z, self.path.t_max, condition)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return self._states(x, t, condition)[:, -1]

    def _states(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        frames = len(self.levels)
        x = (self.c_in * x).to(parameter_dtype(self.network, x)).repeat_interleave(frames, 0)
        c_noise = (self.levels.log() / 4).to(time_dtype(self.network, x.dtype)).repeat(len(x) // frames)
        labels = None if condition is None else condition.repeat_interleave(frames, 0)
        states: Tensor = self.network(x, c_noise, labels)
        return states.unflatten(0, (-1, frames))


class DFNO(StudentMethod):
    """The first share of the budget makes trajectories and learns from each at once; the rest revisits them."""

    student: TrajectoryPredictor

    def __init__(self, teacher: Denoiser, options: DFNOOptions, seed: int = 0) -> None:
        network = preconditioned_network(teacher, "dfno")
        times = moments(teacher, options)
        levels = times.clamp(min=network.path.t_min)
        student = TrajectoryPredictor(network, levels, options.modes, generator(seed, "layers over time"))
        super().__init__(teacher, student, options, seed)
        self.options = options
        self.distance = distance(options.distance)
        self.weight = moment_weight(options.weight, levels)
        self.size = (1 + times**2).sqrt()
        self.pairs = Pairs.of(teacher, "dfno", states=options.frames)

    def step_kind(self, step: int) -> str:
        return "trajectories" if self.spent < self.options.pairs_share else "step"

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        step = int(batch["step"])
        if self.step_kind(step) == "trajectories":
            noise, labels = self.pairs.starts(self.teacher, self.seed, step, self.batch_size)
            states = trajectory(self.teacher, noise, self.options, labels)
            self.pairs.add(noise, states, labels)
        else:
            noise, states, labels = self.pairs.batch(self.batch_size, generator(self.seed, "train", step))
        predicted = self.student.trajectory(noise, labels)
        target = states / self._sizes(states)
        return trajectory_loss(predicted, target, self.weight, self.distance).mean()

    def _sizes(self, states: Tensor) -> Tensor:
        """sqrt(1 + sigma_i^2), so that it divides states (B, T, ...)."""
        return self.size.to(states, non_blocking=True).reshape(-1, *[1] * (states.ndim - 2))

    @torch.no_grad()
    def trajectory(self, noise: Tensor, condition: Condition = None) -> Tensor:
        """The states x_i (B, T, ...) from unit noise (B, ...), in the one evaluation that a sample takes."""
        student = self.averaged_student
        assert isinstance(student, TrajectoryPredictor)
        states = student.trajectory(noise, condition)
        return self._sizes(states) * states

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0, the trajectory's end. UnreachableNFE for another number of evaluations than one."""
        one_evaluation(nfe)
        return self.trajectory(noise, condition)[:, -1]
