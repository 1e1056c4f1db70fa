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
from ...datasets.scorers import Scorer, ScorerRecipe
from .. import published_files
from ..errors import TaskError
from ..metrics.frechet import frechet_distance
from ..plan.kinds import ExtractorParams, ExtractorResult
from ..store import Artifact
from ..training.feature_classifier import ClassifierTraining
from ..training.ledger import Ledger
from ..training.loop import fit
from ..training.scorer import ScorerTraining
from ..training.tracking import tracked
from .context import Context
from .data import load as load_data
from .device import accelerator

# Who reads a feature network has its artifact among its inputs, and that is keyed by this source.
PART_OF_RESULTS = False

Network = Classifier | Scorer
"""Both have features, logits, and say whether these are right for a label."""
Recipes = Recipe | ScorerRecipe

BATCH = 512
WEIGHTS, REFERENCE = "classifier.safetensors", "reference.safetensors"


def run(task: Context[ExtractorParams]) -> ExtractorResult:
    data = load_data(task.params.dataset, task.params.content)
    assert isinstance(data, ImageSet)
    assert data.targets is not None
    recipe, device = DATASETS[task.params.dataset].recipe(), accelerator(task.params.device)
    spent = _copied(task) if task.params.file is not None else _trained(task, data, recipe, device)
    network = _read(task.folder / WEIGHTS, recipe).to(device)
    _, held_out = recipe.parts(data)
    probe = data.samples(torch.arange(2)).to(device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.features(probe)
    said = logits(network, features(network, held_out.samples(torch.arange(len(held_out)))))
    assert held_out.targets is not None
    accuracy = float(network.right(said, held_out.targets).double().mean())
    reference = features(network, data.samples(torch.arange(len(data))))
    save_file({"features": reference}, task.folder / REFERENCE)
    return ExtractorResult(
        held_out=len(held_out),
        held_out_accuracy=accuracy,
        reference=len(data),
        pixels=data.pixels_sha256(),
        flops_per_image=counter.get_total_flops() / len(probe),
        training=spent,
    )


def _trained(task: Context[ExtractorParams], data: ImageSet, recipe: Recipes, device: str) -> dict[str, float]:
    """Train the network, write its weights, and say what that took."""
    part, _ = recipe.parts(data)
    module = ScorerTraining(recipe) if isinstance(recipe, ScorerRecipe) else ClassifierTraining(recipe)
    ledger = Ledger(recipe.steps(len(part)) * recipe.batch, "images", 1.0)
    with tracked(task.folder) as record:
        fit(module, part, module.seed, ledger, task.folder, record, task.on_progress, device)
    save_file(module.result().cpu().state_dict(), task.folder / WEIGHTS)
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


def _read(file: Path, recipe: Recipes) -> Network:
    network = recipe.build()
    network.load_state_dict(load_file(file))
    return network.eval()


def load(artifact: Artifact) -> tuple[Network, Tensor]:
    """(the feature network, on the device of its training; the reference features (N, D), on the CPU)."""
    params = artifact.asked(ExtractorParams)
    network = _read(artifact.file(WEIGHTS), DATASETS[params.dataset].recipe()).to(accelerator(params.device))
    return network, load_file(artifact.file(REFERENCE))["features"]


@torch.no_grad()
def features(network: Network, x0: Tensor) -> Tensor:
    """The features (N, D) of samples (N, ...), in batches on the network's device, joined on the CPU."""
    device = _device(network)
    return torch.cat([network.features(part.float().to(device)).cpu() for part in x0.split(BATCH)])


@torch.no_grad()
def logits(network: Network, found: Tensor) -> Tensor:
    """The logits (N, classes) of features (N, D), on the CPU; of a scorer the cosines with each caption."""
    return network.logits(found.float().to(_device(network))).cpu()


def _device(network: Network) -> torch.device:
    return next(network.parameters()).device


def quality(artifact: Artifact) -> Callable[[Tensor], float]:
    """The Fréchet distance of samples (N, ...) to the reference, for training that selects by it."""
    network, reference = load(artifact)

    def distance(x0: Tensor) -> float:
        return frechet_distance(reference, features(network, x0))

    return distance
