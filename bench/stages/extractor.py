"""The feature network of a data set, and the features of its reference images."""

from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ... import datasets
from ...datasets.base import ImageSet
from ...datasets.digits import split
from ..budget import Ledger
from ..metrics.digits import BATCH, STEPS, ClassifierTraining, DigitsClassifier
from ..metrics.frechet import frechet_distance
from ..store import Artifact
from ..tracking import tracked
from ..training import fit
from .context import Context

WEIGHTS, REFERENCE = "classifier.safetensors", "reference.safetensors"


def run(task: Context) -> dict[str, Any]:
    data = datasets.get(task.params["dataset"])
    assert isinstance(data, ImageSet)
    assert data.targets is not None
    training, held_out = split(data)
    part = ImageSet("digits-train", data.images[training], data.targets[training], data.max_value, data.classes)
    module = ClassifierTraining()
    ledger = Ledger(STEPS * BATCH, "images", 1.0)
    with tracked(task.folder, task.key, task.label, "extractor", task.params) as record:
        fit(module, part, module.seed, ledger, task.folder, record, task.on_progress)
    classifier = module.classifier.eval()
    probe = data.samples(torch.arange(2))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        classifier.features(probe)
    with torch.no_grad():
        predicted = classifier(data.samples(held_out)).argmax(1)
        reference = classifier.features(data.samples(torch.arange(len(data))))
    save_file(classifier.state_dict(), task.folder / WEIGHTS)
    save_file({"features": reference}, task.folder / REFERENCE)
    accuracy = float((predicted == data.targets[held_out]).double().mean())
    return {
        "held_out": len(held_out),
        "held_out_accuracy": accuracy,
        "reference": len(data),
        "flops_per_image": counter.get_total_flops() / len(probe),
    }


def load(artifact: Artifact) -> tuple[DigitsClassifier, Tensor]:
    """(the feature network, the reference features (N, 64))."""
    classifier = DigitsClassifier()
    classifier.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return classifier.eval(), load_file(artifact.file(REFERENCE))["features"]


def quality(artifact: Artifact) -> Callable[[Tensor], float]:
    """The Fréchet distance of samples (N, ...) to the reference, for training that selects by it."""
    classifier, reference = load(artifact)

    @torch.no_grad()
    def distance(x0: Tensor) -> float:
        return frechet_distance(reference, classifier.features(x0.float().cpu()))

    return distance
