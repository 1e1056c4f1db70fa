"""The 2-D testbed: eight Gaussians on the unit circle, a fitted teacher, training under a budget, a distance."""

import copy
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from fewstep import datasets
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.method import Method
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import generator
from fewstep.methods.teachers.analytic import MixtureDenoiser

DATA = datasets.get("mixture-2d")
PATH = EDM(0.01, 40.0)
SIGMA_DATA = 0.75
DIRECTIONS = 64


def exact() -> MixtureDenoiser:
    denoiser = MixtureDenoiser(DATA.weights, DATA.means, DATA.stds**2, PATH)
    denoiser.sample_shape = DATA.shape
    return denoiser


@cache
def _fitted() -> EDMDenoiser:
    """A residual MLP fitted to the exact denoiser: 400 steps of 512, EDM's weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = EDMDenoiser(ResidualMLP(2, width=96, blocks=3), SIGMA_DATA, PATH)
    denoiser.sample_shape = DATA.shape
    truth, rng, steps = exact(), generator(0, "fit"), 400
    optimizer = torch.optim.Adam(denoiser.parameters(), 3e-3, betas=(0.9, 0.99))
    data = DATA.samples(torch.arange(len(DATA)))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 20) * (1 - step / steps)
        x0 = data[torch.randint(len(data), (512,), generator=rng)]
        sigma = (-0.6 + 1.3 * torch.randn(512, generator=rng)).exp()
        # A quarter at the top of the range, which a student that starts from pure noise lives on.
        sigma[:128] = (torch.rand(128, generator=rng) * 3.7).exp()
        x = x0 + sigma[:, None] * torch.randn(x0.shape, generator=rng)
        error = (denoiser(x, sigma) - truth(x, sigma)).square().mean(1)
        optimizer.zero_grad()
        ((SIGMA_DATA**-2 + sigma**-2) * error).mean().backward()
        optimizer.step()
    return denoiser.requires_grad_(False).eval()


def teacher() -> EDMDenoiser:
    """The fitted teacher, a copy of its own for each caller."""
    return copy.deepcopy(_fitted())


def train(method: Method, evaluations: float, folder: Path) -> Ledger:
    """Train under the budget; the ledger says what was spent."""
    ledger = Ledger(evaluations, "evaluations", forward_flops(method.teacher, torch.zeros(2, *DATA.shape)))
    folder.mkdir(parents=True, exist_ok=True)
    fit(method, DATA, method.seed, ledger, folder, NoTracker())
    method.eval()
    return ledger


def swd(x0: Tensor) -> float:
    """Sliced 2-Wasserstein distance of samples (n, 2) to n data points, over 64 directions."""
    angle = torch.arange(DIRECTIONS) * (torch.pi / DIRECTIONS)
    directions = torch.stack([angle.cos(), angle.sin()])
    data = DATA.samples(torch.arange(len(x0)))
    one, other = ((points.double() @ directions.double()).sort(0).values for points in (x0, data))
    return float((one - other).square().mean(0).sqrt().mean())
