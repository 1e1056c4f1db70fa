"""The sources of a package that adds one of everything, to be installed outside or copied inside."""

from pathlib import Path

SOLVER = """
from itertools import pairwise


def midway(run, x):
    for t, s in pairwise(run.nodes):
        eps = (x - t.alpha * run.x0(x, t)) / t.sigma
        x = s.alpha / t.alpha * x + (s.sigma - s.alpha / t.alpha * t.sigma) * eps
    return x
"""
SOLVER_SPEC = """
from fewstep.methods.specs.solver import SolverOptions, SolverSpec

SPEC = SolverSpec(name="midway", target="{formulas}:midway", options=SolverOptions, summary="Euler once more")
"""

METHOD = """
import copy

import torch

from fewstep.methods import solvers
from fewstep.methods.method import Method
from fewstep.methods.nfe import one_evaluation
from fewstep.methods.randomness import generator


class Nudge(Method):
    def __init__(self, teacher, options, seed=0):
        super().__init__(teacher, seed)
        self.batch_size, self.learning_rate = options.batch, options.learning_rate
        self.student = copy.deepcopy(teacher).requires_grad_(True)

    def training_step(self, batch, batch_idx):
        noise = torch.randn(batch["x0"].shape, generator=generator(self.seed, "train", batch["step"]))
        target = solvers.get("euler").sample(self.teacher, noise, nfe=4)
        return (self.sample(noise, nfe=1) - target).square().mean()

    def sample(self, noise, nfe, condition=None, draws=None):
        one_evaluation(nfe)
        t = self.teacher.path.t_max
        return self.student(t * noise, t, condition)

    def configure_optimizers(self):
        return torch.optim.Adam(self.student.parameters(), self.learning_rate)

    def result(self):
        return self.student
"""
METHOD_SPEC = """
from pydantic import Field

from fewstep.methods.nfe import one_evaluation
from fewstep.methods.specs.base import MethodSpec, Options


class NudgeOptions(Options):
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate.")
    batch: int = Field(8, ge=1, description="Samples per training step.")


SPEC = MethodSpec(
    name="nudge",
    target="{formulas}:Nudge",
    options=NudgeOptions,
    steps=one_evaluation,
    summary="one step, nudged towards Euler's four",
    trains=True,
    needs_network=True,
)
"""

METRIC = """
from fewstep.bench.metrics.metric import Metric, Value


def largest(samples):
    return Value(float((samples.fake - samples.reference).abs().max()))


WORST = Metric(
    name="worst", display="worst pixel", summary="largest error of a pixel", features="pixels", compute=largest,
    against="truth",
)
METRICS = (WORST,)
"""
DISTANCE = """
from fewstep.bench.metrics.metric import Metric, Value


def means_apart(samples):
    mean, _ = samples.reference
    return Value(float((samples.fake.double().mean(0) - mean).norm()))


FD_TILES = Metric(
    name="fd_tiles", display="FD (tiles)", summary="distance of the mean features", features="classifier",
    array="features", compute=means_apart, against="moments", specific=True,
)
"""
"""A metric in the features of one data set's classifier."""

POINTS = """
import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Spokes:
    name: str = "spokes"
    shape: tuple[int, ...] = (2,)
    classes: int = 0
    bound: None = None

    def __len__(self):
        return 30

    def samples(self, indices):
        angle = indices.double() * (2 * math.pi / 3)
        return ((0.5 + indices.double() / 60)[:, None] * torch.stack([angle.cos(), angle.sin()], 1)).float()

    def labels(self, indices):
        return None


def spokes():
    return Spokes()
"""
POINTS_SPEC = """
from fewstep.datasets.registry import DatasetSpec

SPEC = DatasetSpec(
    name="spokes", target="{formulas}:spokes", summary="points on three spokes", shape=(2,), size=30, metrics=("truth",)
)
"""
IMAGES = """
import torch

from fewstep.datasets.base import ImageSet


def tiles():
    targets = torch.arange(60) % 2
    steps = torch.arange(16).reshape(1, 1, 4, 4)
    images = (targets.reshape(-1, 1, 1, 1) * 100 + 8 * steps + torch.arange(60).reshape(-1, 1, 1, 1)).to(torch.uint8)
    return ImageSet("tiles", images, targets, classes=2)
"""
RECIPE = """
from torch import nn

from fewstep.datasets.classifiers import Classifier, Recipe


def network():
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU()), features=8, classes=2)


RECIPE = Recipe(network, epochs=2, held_out=10, batch=10)
"""
IMAGES_SPEC = """
from fewstep.datasets.registry import DatasetSpec

SPEC = DatasetSpec(
    name="tiles", target="tiles:tiles", summary="light and dark tiles", shape=(1, 4, 4), size=60, classes=2,
    metrics=("truth", "classifier"), classifier="tiles_recipe:RECIPE", quality="fd_tiles",
)
"""

TEACHER = """
import torch

from fewstep.methods.denoiser import Denoiser
from fewstep.methods.paths import EDM


class Wiener(Denoiser):
    '''The best linear denoiser, m + C (C + sigma^2)^-1 (x - m), in the eigenbasis of the covariance C.'''

    def __init__(self, x0, path):
        super().__init__(path)
        rows = x0.double().flatten(1)
        values, basis = torch.linalg.eigh(rows.T.cov())
        self.mean, self.basis = torch.nn.Parameter(rows.mean(0)), torch.nn.Parameter(basis)
        self.register_buffer("values", values)

    def denoise(self, x, t, condition):
        gain = self.values / (self.values + t.double().reshape(-1, 1) ** 2)
        flat = x.double().flatten(1) - self.mean
        return (self.mean + gain * (flat @ self.basis) @ self.basis.T).reshape(x.shape)


def wiener(options, data):
    return Wiener(data.samples(torch.arange(len(data))), EDM(0.01, options.sigma_max))
"""
TEACHER_SPEC = """
import os
from typing import Literal

from pydantic import Field

from fewstep.methods.specs.teachers.base import TeacherOptions, TeacherSpec


class WienerOptions(TeacherOptions):
    name: Literal["wiener"] = Field("wiener", description="Chooses this kind of teacher.")
    sigma_max: float = Field(40.0, gt=0, description="Largest noise level.")

    def default_label(self):
        return "wiener"

    def identity(self):
        return {{"file": os.environ.get("WIENER_FILE", "")}}


SPEC = TeacherSpec(
    name="wiener", target="{formulas}:wiener", options=WienerOptions, summary="the best linear denoiser"
)
"""

EXECUTOR = """
class Tally:
    '''The local executor, and a line in tally.txt for each task that it is given.'''

    def __init__(self, resources):
        from fewstep.bench.run.executor import LOCAL

        self.inner, self.file = LOCAL.start(resources), resources.root / "tally.txt"

    has_room = property(lambda self: self.inner.has_room)
    running = property(lambda self: self.inner.running)

    def submit(self, task):
        with self.file.open("a") as stream:
            stream.write(task.kind + "\\n")
        self.inner.submit(task)

    def events(self, timeout):
        return self.inner.events(timeout)

    def close(self):
        self.inner.close()
"""
EXECUTOR_SPEC = """
from fewstep.bench.run.executor import ExecutorSpec

SPEC = ExecutorSpec(name="tally", target="{formulas}:Tally", summary="the local executor, counting")
"""


def install(folder: Path, package: str, modules: dict[str, str], points: dict[str, dict[str, str]]) -> None:
    """Put modules and entry points, {group: {name: value}}, into a folder of Python's path as pip would."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    facts = folder / f"{package.replace('-', '_')}-0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    lines = [
        line for group, named in points.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in named.items()))
    ]
    (facts / "entry_points.txt").write_text("\n".join(lines))
