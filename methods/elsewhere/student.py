"""A distilled network that somebody released or exported, sampled as its authors do.

Consistency models (song2023consistency, arXiv:2303.01469): boundary condition eq. 5 and appendix C, multistep sampler
algorithm 1 at given levels. Progressive distillation (salimans2022progressive, arXiv:2202.00512): DDIM's steps over the
student's grid, algorithm 2. One-step networks of SIM and SiD: D(sigma_init z; sigma_init).
"""

from functools import partial

import torch
from torch import Tensor

from ..denoiser import Clipped, Condition, Denoiser, EDMDenoiser
from ..distillation.consistency import ConsistencyFunction
from ..distillation.consistency_sampling import Function, consistency_sampling
from ..distillation.progressive import sampler
from ..method import Draws, Method
from ..nfe import one_evaluation
from ..paths import EDM, VPCosine
from ..specs.student import StudentRowOptions


class Student(Method):
    """`teacher` is the network of the file itself. One that fewstep exported holds the method that samples it,
    `teacher.exported`.
    """

    def __init__(self, teacher: Denoiser, options: StudentRowOptions, seed: int = 0) -> None:
        super().__init__(teacher, seed)
        self.options = options
        self.exported: Method | None = getattr(teacher, "exported", None)
        self.function: ConsistencyFunction | None = None
        if self.exported is None and options.resolved == "consistency":
            self.function = consistency_function(teacher, options.sigma_min, options.sigma_max)

    @torch.no_grad()
    def sample(self, noise: Tensor, nfe: int, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """x0 (B, ...) in `nfe` evaluations from unit noise. UnreachableNFE for another number than it has."""
        if self.exported is not None:
            return self.exported.sample(noise, nfe, condition, draws)
        self.options.steps_for(nfe)
        if self.function is not None:
            levels = torch.tensor(self.options.sampled_at()[:nfe], dtype=torch.float64, device=noise.device)
            f = clipped(partial(self.function, condition=condition), self.options.clip_x0 is not False)
            return consistency_sampling(f, noise, levels, self.options.sigma_min, draws)
        network = Clipped(self.teacher, 1.0) if self.options.clip_x0 else self.teacher
        if self.options.resolved == "progressive":
            path = VPCosine() if self.options.path == "vp-cosine" else network.path
            return sampler(self.options.path).sample(network.on(path), noise, nfe=nfe, condition=condition)
        one_evaluation(nfe)
        path, sigma = network.path if isinstance(network.path, EDM) else EDM(), self.options.sigma_init
        return network.on(path)(sigma * noise, sigma, condition)


def consistency_function(network: Denoiser, sigma_min: float, sigma_max: float) -> ConsistencyFunction:
    """f(x, sigma) of a network in EDM's preconditioning, with f(x, sigma_min) = x; ValueError for another network."""
    inner = network.unwrapped()
    if not isinstance(inner, EDMDenoiser):
        raise ValueError("a consistency model has a network with EDM preconditioning, and this file holds another")
    function = ConsistencyFunction(inner.network, inner.sigma_data, EDM(sigma_min, sigma_max))
    function.sample_shape = inner.sample_shape
    function.class_counts, function.prompts = inner.class_counts, inner.prompts
    return function


def clipped(f: Function, clip: bool) -> Function:
    """f, or f clamped to [-1, 1]."""
    return (lambda x, t: f(x, t).clamp(-1, 1)) if clip else f
