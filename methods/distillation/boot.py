"""BOOT (gu2023boot, arXiv:2306.05544): data-free distillation into one step, by bootstrapping.

Along the teacher's trajectory from noise eps, x_t = alpha_t y_t + sigma_t eps defines the signal y_t: smooth
in t, and the sample itself where the noise ends. The student y(eps, t) sees the noise alone, and learns its
value at s from its own at t > s moved by one teacher step. In the paper these are the signal ODE (`slope`), the
bootstrapping loss with its target, and the boundary loss; the sampler is one evaluation at the clean end
(equation numbers unchecked; no code of the authors is public).
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..denoiser import Condition, Denoiser, EDMDenoiser
from ..method import Draws
from ..networks.embedding import embedding_alone, zero
from ..nfe import one_evaluation
from ..paths import Path, Scalar, VPCosine, expand
from ..randomness import generator
from ..scalings import parameter_dtype
from ..solvers.grids import karras
from ..specs.boot import BootOptions
from ..uses import spent_on
from .distances import Distance, distance, l2
from .student import StudentMethod, preconditioned_network

Signal = Callable[[Tensor, Tensor], Tensor]
"""y(eps, t): eps (B, ...), t () or (B,); like eps."""
DataPrediction = Callable[[Tensor, Tensor], Tensor]
"""f(x, t): the teacher's D at its condition."""


def slope(f: DataPrediction, path: Path, y: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """-dy/dt = lambda'_t (D(x_t, t) - y_t), the signal ODE, with lambda = log(sigma/alpha)."""
    rate = -path.dhalf_log_snr(t)
    return expand(rate, y) * (f(path.noisy(y, eps, t), t) - y)


def ddim_signal_step(f: DataPrediction, path: Path, y: Tensor, eps: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """y_s = (1 - r) D + r y_t, r = e^(lambda_s - lambda_t): exact if D is constant, and DDIM's step on x."""
    r = path.noise_level(s) / path.noise_level(t)
    return y + expand(1 - r, y) * (f(path.noisy(y, eps, t), t) - y)


def first_order_signal_step(f: DataPrediction, path: Path, y: Tensor, eps: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Euler's step of the signal ODE in t: its finite difference; on EDM it is `ddim_signal_step`."""
    return y + expand(t - s, y) * slope(f, path, y, eps, t)


def heun_signal_step(f: DataPrediction, path: Path, y: Tensor, eps: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Heun's step of the signal ODE in t: two teacher evaluations."""
    first = slope(f, path, y, eps, t)
    second = slope(f, path, y + expand(t - s, y) * first, eps, s)
    return y + expand((t - s) / 2, y) * (first + second)


STEPS = {"ddim": ddim_signal_step, "first-order": first_order_signal_step, "heun": heun_signal_step}


def bootstrapping_loss(
    signal: Signal,
    f: DataPrediction,
    path: Path,
    eps: Tensor,
    t: Tensor,
    s: Tensor,
    step: str = "ddim",
    distance: Distance = l2,
) -> Tensor:
    """L_BS: dist(y(eps, s), SG[y(eps, t) moved to s]) per sample (B,); s < t, both (B,)."""
    with torch.no_grad():
        with spent_on("target"):
            y_t = signal(eps, t)
        with spent_on("teacher"):
            target = STEPS[step](f, path, y_t, eps, t, s)
    return distance(signal(eps, s), target)


def step_weight(name: str, path: Path, t: Tensor, s: Tensor) -> Tensor:
    """Of the step from t to s, in t's shape; k = 1 - e^(lambda_s - lambda_t) is the share that D takes in it."""
    weights = {
        "uniform": lambda: torch.ones_like(t),
        "1/delta^2": lambda: (t - s) ** -2,
        "1/k^2": lambda: (1 - path.noise_level(s) / path.noise_level(t)) ** -2,
    }
    return weights[name]()


def boundary_loss(
    signal: Signal, f: DataPrediction, x: Tensor, eps: Tensor, t_max: Tensor, distance: Distance = l2
) -> Tensor:
    """L_BC: dist(y(eps, t_max), D(x, t_max)) per sample (B,), x = eps at the scale that the path has there.

    Whatever finite y the trajectory starts with is forgotten as alpha -> 0: just below, the signal is D.
    """
    with torch.no_grad(), spent_on("teacher"):
        target = f(x, t_max)
    return distance(signal(eps, t_max), target)


class TargetTime(nn.Module):
    """A network held at the largest noise level, its embedding plus one of the target time, which is zero at the start.

    The network has `embed(c_noise, condition)`, and takes what that returns as `embedding`: networks/embedding.py.
    """

    network: Any
    time: Any

    def __init__(self, network: nn.Module, level: Tensor) -> None:
        """level: c_noise (1,) of the largest noise level."""
        super().__init__()
        self.level, self.casts_itself = float(level), getattr(network, "casts_itself", False)
        self.network, self.time = network, embedding_alone(network, level)
        with torch.no_grad():
            embedded = self.time.embed(level)
        self.out = zero(nn.Linear(embedded.shape[1], embedded.shape[1])).to(embedded)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Condition = None) -> Tensor:
        """c_noise: (B,) of the target time."""
        level = torch.full_like(c_noise[:1], self.level)
        embedding = self.network.embed(level, condition) + self.out(self.time.embed(c_noise))
        F: Tensor = self.network(x, level.expand(len(x)), condition, embedding=embedding)
        return F


class SignalPredictor(EDMDenoiser):
    """y(eps, t), from the teacher's weights: its network always sees pure noise, at the level of pure noise.

    The time is told by an embedding of its own, so that no t promises an input with less noise than it has.
    Before training y(eps, t) = D(t_max eps, t_max), for all t.
    """

    def __init__(self, teacher: EDMDenoiser) -> None:
        device = next(teacher.parameters()).device
        t_max = torch.tensor([teacher.path.t_max], dtype=torch.float64, device=device)
        level = teacher.c_noise(t_max, t_max.to(parameter_dtype(teacher.network, t_max)))
        network = TargetTime(copy.deepcopy(teacher.network), level)
        super().__init__(network, teacher.sigma_data, teacher.path)

    def scalings(self, sigma: Scalar) -> tuple[Scalar, Scalar, Scalar]:
        return super().scalings(self.path.t_max)

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return super().denoise(self.path.t_max * x, t, condition)


def uniform(u: Tensor, first: float, last: float) -> Tensor:
    return first + u * (last - first)


SPACINGS: dict[str, Callable[[Tensor, float, float], Tensor]] = {"edm": karras, "vp-cosine": uniform}


class Boot(StudentMethod):
    """Sampled in one evaluation. No data are read: noise, times and labels are drawn."""

    def __init__(self, teacher: Denoiser, options: BootOptions, seed: int = 0) -> None:
        network = preconditioned_network(teacher, "boot")
        if network.sample_shape is None:
            raise ValueError("boot needs the teacher's sample_shape: it draws its own noise")
        super().__init__(teacher, SignalPredictor(network), options, seed)
        self.options = options
        self.shape = network.sample_shape
        self.distance = distance(options.distance)
        self.path: Path = VPCosine() if options.path == "vp-cosine" else teacher.path
        self.t_max, self.t_min = (float(self.path.time_at(level)) for level in (teacher.path.t_max, teacher.path.t_min))

    def drawn(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        rng, counts = generator(self.seed, "train", int(batch["step"])), {"train": self.batch_size}
        counts["boundary"] = math.ceil(self.options.boundary_share * self.batch_size)
        u = torch.rand(self.batch_size, generator=rng, dtype=torch.float64)
        return {"u": u, **{loss: torch.randn(n, *self.shape, generator=rng) for loss, n in counts.items()}}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        step, delta, drawn = int(batch["step"]), self.options.delta, self.draws_of(batch)
        u = drawn["u"] * (1 - delta)
        spacing = SPACINGS[self.options.path]
        t, s = (spacing(v, self.t_max, self.t_min).to(self.device, non_blocking=True) for v in (u, u + delta))
        signal, f, eps = self._denoisers("train", step, drawn)
        bootstrapping = bootstrapping_loss(signal, f, self.path, eps, t, s, self.options.step, self.distance)
        weight = step_weight(self.options.weight, self.path, t, s).to(eps)
        signal, f, eps = self._denoisers("boundary", step, drawn)
        t_max = torch.tensor(self.t_max, dtype=torch.float64)
        boundary = boundary_loss(signal, f, expand(self.path.sigma(t_max), eps) * eps, eps, t_max, self.distance)
        return (weight * bootstrapping).mean() + self.options.boundary_weight * boundary.mean()

    def _denoisers(self, loss: str, step: int, drawn: Mapping[str, Tensor]) -> tuple[Signal, DataPrediction, Tensor]:
        """(student, teacher, eps (B, ...)), both at labels or prompts that are drawn for this loss, if any."""
        eps = drawn[loss].to(self.device, non_blocking=True)
        given = self.teacher.conditions(self.seed, f"label-{loss}", range(step * len(eps), (step + 1) * len(eps)))
        labels = None if given is None else given.to(self.device, non_blocking=True)
        teacher, clip = self.teacher.on(self.path), 1.0 if self.options.clip else math.inf

        def signal(eps: Tensor, t: Tensor) -> Tensor:
            return self.student(eps, self.path.noise_level(t), labels)

        def f(x: Tensor, t: Tensor) -> Tensor:
            return teacher(x, t, labels).clamp(-clip, clip)

        return signal, f, eps

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """y(noise, t_min). Raises UnreachableNFE for any NFE but 1, ValueError for a missing label."""
        one_evaluation(nfe)
        if self.teacher.conditional and condition is None:
            raise ValueError("this student was trained with labels: give `condition`, a label for each sample")
        return self.average.module(noise, self.student.path.t_min, condition)
