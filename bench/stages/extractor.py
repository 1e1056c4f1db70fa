"""The feature network of a data set, shipped or trained here, and the features of its reference images."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...datasets import frozen
from ...datasets.base import ImageSet
from ...datasets.classifiers import Classifier, Recipe
from ...datasets.registry import DATASETS
from .. import published_files
from ..errors import TaskError
from ..metrics.frechet import frechet_distance
from ..plan.kinds import ExtractorParams, ExtractorResult
from ..store import Artifact
from ..training.feature_classifier import ClassifierTraining
from ..training.ledger import Ledger
from ..training.loop import fit
from ..training.tracking import tracked
from .context import Context
from .data import load as load_data
from .device import accelerator

# Who reads a feature network has its artifact among its inputs, and that is keyed by this source.
PART_OF_RESULTS = False

BATCH = 512
WEIGHTS, REFERENCE = "classifier.safetensors", "reference.safetensors"


def run(task: Context[ExtractorParams]) -> ExtractorResult:
    data = load_data(task.params.dataset, task.params.content)
    assert isinstance(data, ImageSet)
    assert data.targets is not None
    recipe, device = DATASETS[task.params.dataset].recipe(), accelerator(task.params.device)
    spent = _copied(task) if task.params.file is not None else _trained(task, data, recipe, device)
    classifier = _read(task.folder / WEIGHTS, recipe).to(device)
    _, held_out = recipe.split(data)
    probe = data.samples(torch.arange(2)).to(device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        classifier.features(probe)
    predicted = classes(classifier, features(classifier, data.samples(held_out)))
    reference = features(classifier, data.samples(torch.arange(len(data))))
    save_file({"features": reference}, task.folder / REFERENCE)
    accuracy = float((predicted == data.targets[held_out]).double().mean())
    return ExtractorResult(
        held_out=len(held_out),
        held_out_accuracy=accuracy,
        reference=len(data),
        pixels=data.pixels_sha256(),
        flops_per_image=counter.get_total_flops() / len(probe),
        training=spent,
    )


def _trained(task: Context[ExtractorParams], data: ImageSet, recipe: Recipe, device: str) -> dict[str, float]:
    """Train the classifier, write its weights, and say what that took."""
    training, _ = recipe.split(data)
    assert data.targets is not None
    part = ImageSet(f"{data.name}-train", data.images[training], data.targets[training], data.max_value, data.classes)
    module = ClassifierTraining(recipe)
    ledger = Ledger(recipe.steps(len(part)) * recipe.batch, "images", 1.0)
    with tracked(task.folder) as record:
        fit(module, part, module.seed, ledger, task.folder, record, task.on_progress, device)
    save_file(module.classifier.cpu().state_dict(), task.folder / WEIGHTS)
    return {"flops": ledger.flops, "images": ledger.images, "steps": ledger.steps}


def _copied(task: Context[ExtractorParams]) -> dict[str, float]:
    """Copy the weights that fewstep ships, and say what training them took."""
    assert task.params.file is not None
    source = frozen.path(task.params.file)
    shutil.copyfile(source, task.folder / WEIGHTS)
    if published_files.sha256(task.folder / WEIGHTS) != task.params.sha256:
        raise TaskError(f"{source} has changed since this run was planned; run it again")
    with safe_open(task.folder / WEIGHTS, "pt") as opened:
        ledger: dict[str, float] = json.loads(opened.metadata()["ledger"])
    return ledger


def _read(file: Path, recipe: Recipe) -> Classifier:
    classifier = recipe.build()
    classifier.load_state_dict(load_file(file))
    return classifier.eval()


def load(artifact: Artifact) -> tuple[Classifier, Tensor]:
    """(the feature network, on the device of its training; the reference features (N, D), on the CPU)."""
    params = artifact.asked(ExtractorParams)
    classifier = _read(artifact.file(WEIGHTS), DATASETS[params.dataset].recipe()).to(accelerator(params.device))
    return classifier, load_file(artifact.file(REFERENCE))["features"]


@torch.no_grad()
def features(classifier: Classifier, x0: Tensor) -> Tensor:
    """The features (N, D) of samples (N, ...), in batches on the classifier's device, joined on the CPU."""
    device = classifier.head.weight.device
    return torch.cat([classifier.features(part.float().to(device)).cpu() for part in x0.split(BATCH)])


@torch.no_grad()
def logits(classifier: Classifier, found: Tensor) -> Tensor:
    """The logits (N, classes) of features (N, D), on the CPU."""
    return classifier.head(found.to(classifier.head.weight)).cpu()


def classes(classifier: Classifier, found: Tensor) -> Tensor:
    """The classes (N,) of features (N, D)."""
    return logits(classifier, found).argmax(1)


def quality(artifact: Artifact) -> Callable[[Tensor], float]:
    """The Fréchet distance of samples (N, ...) to the reference, for training that selects by it."""
    classifier, reference = load(artifact)

    def distance(x0: Tensor) -> float:
        return frechet_distance(reference, features(classifier, x0))

    return distance
