"""Large images of noise, a teacher and features that cost nothing."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from fewstep.bench.metrics.extractors.network import FeatureNetwork
from fewstep.bench.metrics.metric import Metric
from fewstep.bench.metrics.named import classifier
from fewstep.datasets.base import ImageSet
from fewstep.datasets.classifiers import Classifier, Recipe
from fewstep.datasets.registry import DatasetSpec
from fewstep.methods.denoiser import Denoiser
from fewstep.methods.paths import EDM
from fewstep.methods.specs.teachers.base import TeacherOptions, TeacherSpec

SHAPE, REAL, CELLS, FEATURES = (3, 256, 256), 40, 8, 16


def wall():
    rng = torch.Generator().manual_seed(0)
    return ImageSet(
        "wall", torch.randint(256, (REAL, *SHAPE), generator=rng).to(torch.uint8), torch.arange(REAL) % 2, classes=2
    )


def network():
    body = nn.Sequential(nn.AdaptiveAvgPool2d(CELLS), nn.Flatten(), nn.Linear(3 * CELLS**2, FEATURES), nn.ReLU())
    return Classifier(body, features=FEATURES, classes=2)


RECIPE = Recipe(network, epochs=1, held_out=8, batch=8)


class Free(Denoiser):
    def __init__(self):
        super().__init__(EDM())
        self.scale = nn.Parameter(torch.ones(()))

    def denoise(self, x, t, condition):
        return x * (self.scale / (4 * t)).reshape(-1, 1, 1, 1)


def free(options, data):
    return Free()


class FreeOptions(TeacherOptions):
    name: Literal["free"] = Field("free", description="Chooses this kind of teacher.")

    def default_label(self):
        return "free"


class Means(FeatureNetwork):
    """The features of DINOv2 by name: means of the image's cells."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def features(self, images):
        return {"cls": self.scale * torch.nn.functional.adaptive_avg_pool2d(images.float(), 4).flatten(1)}


class Cheap:
    def load(self, device):
        return Means().requires_grad_(False)

    def protocol(self):
        return "means@0"

    def missing(self):
        return None


HERE = "fewstep.tests.bench.plugins.large"
DATA = DatasetSpec(
    "wall", f"{HERE}:wall", "noise", SHAPE, REAL, ("truth", "classifier", "published"), 2, f"{HERE}:RECIPE",
    quality="fd_wall",
)  # fmt: skip
DISTANCE = Metric(
    "fd_wall", "FD (wall)", "distance", "classifier", classifier.frechet, "moments", "features", specific=True
)
TEACHER = TeacherSpec("free", f"{HERE}:free", FreeOptions, "costs nothing")
POINTS = {"datasets": {"wall": "DATA"}, "metrics": {"fd": "DISTANCE"}, "teachers": {"free": "TEACHER"}}
