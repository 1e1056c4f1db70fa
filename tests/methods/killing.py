"""Training runs that are killed: what resumes must end as what was left in peace."""

from pathlib import Path

import torch
from torch import nn

from fewstep import datasets
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.method import Method
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.paths import EDM

DATA = datasets.get("mixture-2d")


class Killed(BaseException):
    """Nothing in the house catches this, as nothing catches a kill."""


class KillAfter(NoTracker):
    def __init__(self, step: int) -> None:
        self.step = step

    def look(self, step, share) -> None:
        if step >= self.step:
            raise Killed


def small_teacher(classes: int = 0) -> EDMDenoiser:
    """A small network with some weights: what a run costs and whether it repeats does not ask for a good one.

    With `classes` it is class-conditional, and the first class is twice as frequent as each other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = ResidualMLP(2, width=16, blocks=1, classes=classes)
        nn.init.normal_(network.out.weight, std=0.3)
    teacher = EDMDenoiser(network, 0.75, EDM(0.01, 40.0)).requires_grad_(False)
    teacher.sample_shape = DATA.shape
    teacher.class_counts = (2,) + (1,) * (classes - 1) if classes else None
    return teacher


def small_unet() -> EDMDenoiser:
    """For the digits: its first and last layers are a small share of a backward pass, which then costs two forwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = EDMDenoiser(SmallUNet(1, 8, (1, 2)), 0.75, EDM(0.01, 40.0)).requires_grad_(False)
    teacher.sample_shape = datasets.get("digits").shape
    return teacher


def train(method: Method, budget: float, folder: Path, kill: int | None = None, data=DATA) -> Ledger:
    """Train within `budget` evaluations in `folder`, killed after `kill` steps or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = ledger_of(method, budget, data)
    fit(method, data, method.seed, ledger, folder, NoTracker() if kill is None else KillAfter(kill))
    method.eval()
    return ledger


def ledger_of(method: Method, budget: float, data=DATA) -> Ledger:
    return Ledger(budget, "evaluations", forward_flops(method.teacher, torch.zeros(2, *data.shape)))


def same(one: Method, other: Method) -> bool:
    """Whether two trained methods have the same weights, bit for bit."""
    states = one.result().state_dict(), other.result().state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )
