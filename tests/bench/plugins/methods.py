"""One method that keeps every promise of the conformance kit, and eight that each break one."""

import copy

import torch

from fewstep.methods import nfe, solvers
from fewstep.methods.distillation.student import AdamStudent
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.options import Options
from fewstep.methods.randomness import generator
from fewstep.methods.specs.base import MethodSpec


class TinyOptions(Options):
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)


class Right(AdamStudent):
    """The teacher's copy, trained a little further and sampled by Euler."""

    batch_size = 8

    def __init__(self, teacher, options, seed=0):
        super().__init__(teacher, copy.deepcopy(teacher.unwrapped()), options, seed)

    def training_step(self, batch, batch_idx):
        noise = torch.randn(batch["x0"].shape, generator=generator(self.seed, "train", int(batch["step"])))
        return self.loss(batch, noise)

    def loss(self, batch, noise):
        x0 = batch["x0"]
        return (self.student(x0 + noise, 1.0, self.condition_of(batch)) - x0).square().mean()

    def sample(self, noise, nfe, condition=None, draws=None):
        return solvers.get("euler").sample(self.student, noise, nfe=nfe, condition=condition)

    def result(self):
        return self.student


class HarderLater(Right):
    """From its second step on it asks the teacher five times more, and calls that a step like the first."""

    def training_step(self, batch, batch_idx):
        for _ in range(5 if int(batch["step"]) else 0):
            self.teacher(batch["x0"], 1.0)
        return super().training_step(batch, batch_idx)


class OneMore(Right):
    """It takes one evaluation more than it is asked for."""

    def sample(self, noise, nfe, condition=None, draws=None):
        return super().sample(noise, nfe + 1, condition, draws)


class NoiseOfTheBatch(Right):
    """Its sampler draws from torch's global generator."""

    def sample(self, noise, nfe, condition=None, draws=None):
        return super().sample(noise + 0.1 * torch.randn_like(noise), nfe, condition, draws)


class TeacherTrained(Right):
    """Its optimiser has the teacher's weights too."""

    def configure_optimizers(self):
        teacher = self.teacher.requires_grad_(True)
        return torch.optim.Adam([*self.student.parameters(), *teacher.parameters()], 1e-3)

    def loss(self, batch, noise):
        return super().loss(batch, noise) + self.teacher(batch["x0"] + noise, 1.0).square().mean()


class StateInAnAttribute(Right):
    """Its loss depends on a number that no checkpoint holds."""

    largest = 0.0

    def loss(self, batch, noise):
        self.largest = max(self.largest, float(noise.max()))
        return super().loss(batch, noise) * (1 + self.largest) ** (1 + int(batch["step"]))


class GlobalNoise(Right):
    """Its training noise comes from torch's global generator."""

    def training_step(self, batch, batch_idx):
        return self.loss(batch, torch.randn_like(batch["x0"]))


class OddOnly(Right):
    """It claims every NFE, and refuses the even ones when it is too late."""

    def sample(self, noise, nfe, condition=None, draws=None):
        if nfe % 2 == 0:
            raise UnreachableNFE("odd NFE only")
        return super().sample(noise, nfe, condition, draws)


class LooseOptions(TinyOptions, extra="allow"):
    """Options that take any word for one of theirs."""


def spec(target: type[Right], options: type[Options] = TinyOptions) -> MethodSpec:
    """The method as a package would announce it."""
    return MethodSpec(
        name=target.__name__.lower(),
        target=f"{__name__}:{target.__name__}",
        options=options,
        steps=nfe.one_per_step,
        summary=(target.__doc__ or "").splitlines()[0],
        trains=True,
        needs_network=True,
        conditional=True,
    )
