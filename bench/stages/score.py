"""The metrics of one cell's samples, each with its protocol and, where it can be had, its values without each block."""

import torch
from safetensors.torch import load_file
from torch import Tensor

from ... import datasets
from ...datasets.base import to_unit_range
from ...datasets.mixtures import MixtureSet
from ...methods.randomness import generator
from ..metrics.covariance import mean_and_covariance
from ..metrics.extractors import EXTRACTORS
from ..metrics.extractors.quantise import QUANTISERS
from ..metrics.metric import CLASSIFIER, FEATURES, LAW, LOGITS, LPIPS, PIXELS, SCORER
from ..metrics.register import METRICS
from ..metrics.scoring import SUBSET, Images8, Measured, Reference, arrays_of, features_of, measured, published
from ..plan.kinds import (
    ExtractorParams,
    ExtractorResult,
    ImagesParams,
    Sampled,
    Scored,
    ScoreParams,
    TruthParams,
    reference_role,
)
from ..store import Artifact
from . import extractor, reference, sample, truth
from . import images as images_made_elsewhere
from .context import Context
from .device import accelerator
from .scorer import of_scorer

TRUTH_SETTINGS = {PIXELS: "pixels/float", LPIPS: "vgg16-piq/224/float"}
"""What the protocol says of samples that are compared with the truth, by features."""


def run(task: Context[ScoreParams]) -> Scored:
    status = task.inputs["sample"].answer(Sampled).status
    if not status.done:
        return Scored(status=status)
    x0, eight, setting = _samples(task.inputs["sample"], task.params.rounding)
    groups: dict[str, list[str]] = {}
    for name in task.params.metrics:
        groups.setdefault(METRICS[name].features, []).append(name)
    values: dict[str, Measured] = {}
    for features in (PIXELS, LPIPS):
        values |= of_truth(x0, task.inputs["truth"], features, groups.pop(features)) if features in groups else {}
    if CLASSIFIER in groups:
        values |= of_classifier(x0, task.inputs["extractor"], groups.pop(CLASSIFIER), setting)
    if SCORER in groups:
        values |= of_scorer(x0, task.inputs["extractor"], groups.pop(SCORER), setting)
    if LAW in groups:
        assert task.params.law is not None
        values |= of_law(x0, task.params.law, groups.pop(LAW))
    for name, metrics in groups.items():
        x8 = QUANTISERS[task.params.rounding](x0) if eight is None else eight
        images = Images8(x8.__getitem__, len(x8), task.params.rounding)
        files = {metric: given["file"] for metric, given in task.params.references.items()}
        found = features_of(name, images, arrays_of(metrics), accelerator(task.params.device), task.on_progress)
        values |= of_published(name, found, metrics, task.inputs.get(reference_role(name)), files, images.rounding)
    drawn = task.inputs["sample"].answer(Sampled).labels
    return Scored(metrics=values if drawn is None else {name: _said(value, drawn) for name, value in values.items()})


def _samples(artifact: Artifact, rounding: str) -> tuple[Tensor, Tensor | None, str]:
    """(samples in [-1, 1], the same as images if they were made as such, what was done to the first)."""
    if artifact.manifest["kind"] == ImagesParams.kind:
        x8 = images_made_elsewhere.load(artifact)
        return to_unit_range(x8), x8, rounding
    return sample.load(artifact), None, "float"


def _said(value: Measured, labels: str) -> Measured:
    """With how the labels of the samples were drawn in the protocol, where that is not as the data have them."""
    return value if not value.protocol else value.model_copy(update={"protocol": f"{value.protocol}/{labels} labels"})


def of_truth(x0: Tensor, artifact: Artifact, features: str, metrics: list[str]) -> dict[str, Measured]:
    """The metrics of samples (N, ...) beside the exact solutions from the same noises, as many as there are."""
    truths = load_file(artifact.file(truth.SAMPLES))["x0"]
    exact = Reference(f"rk45@{artifact.asked(TruthParams).tolerance:g}", truth=truths)
    samples = {METRICS[name].array: x0[: len(truths)] for name in metrics}
    return measured(metrics, samples, lambda metric: exact, TRUTH_SETTINGS[features])


def of_law(x0: Tensor, dataset: str, metrics: list[str]) -> dict[str, Measured]:
    """The metrics of samples (N, ...) beside the moments of their law, which are those of no images."""
    law = datasets.get(dataset)
    assert isinstance(law, MixtureSet)
    mean, covariance = law.moments()
    exact = Reference(f"{dataset}-law", {"": (mean.numpy(), covariance.numpy())})
    return measured(metrics, {"": x0.flatten(1)}, lambda metric: exact, "samples/float")


def of_classifier(x0: Tensor, artifact: Artifact, metrics: list[str], rounding: str) -> dict[str, Measured]:
    """The metrics of samples (N, ...) in [-1, 1] by the data set's own classifier; rounding: what was done to them."""
    classifier, real = extractor.load(artifact)
    dataset = artifact.asked(ExtractorParams).dataset
    # No hash of anything computed: the protocol is the same wherever weights and images are.
    weights, digits = (
        artifact.manifest["files"][extractor.WEIGHTS]["sha256"][:8],
        artifact.answer(ExtractorResult).pixels[:8],
    )
    fake, every = {FEATURES: extractor.features(classifier, x0)}, {FEATURES: real}
    if LOGITS in arrays_of(metrics):
        fake[LOGITS], every[LOGITS] = (extractor.logits(classifier, part[FEATURES]) for part in (fake, every))
    fitted = arrays_of(name for name in metrics if METRICS[name].against == "moments")
    moments = {array: mean_and_covariance(every[array]) for array in fitted}
    rows = {FEATURES: real[_some(dataset, len(real))]}
    whole = f"{dataset}-{len(real)}@{digits}"
    some = whole if len(rows[FEATURES]) == len(real) else f"{dataset}-{len(rows[FEATURES])}of{len(real)}@{digits}"
    # Features are compared with those of some images, neighbour by neighbour; classes with those of all.
    references = {
        FEATURES: Reference(whole, moments, some, rows),
        LOGITS: Reference(whole, moments, whole, every),
    }
    setting = f"{dataset}-classifier@{weights}/native/{rounding}"
    return measured(sorted(metrics), fake, lambda name: references[METRICS[name].array], setting)


def _some(dataset: str, count: int) -> Tensor:
    """Which reference images are compared with one by one: all, or a fixed draw of SUBSET."""
    return torch.randperm(count, generator=generator(0, f"{dataset}-reference"))[:SUBSET]


def of_published(
    name: str,
    features: dict[str, Tensor],
    metrics: list[str],
    own: Artifact | None,
    files: dict[str, str],
    rounding: str,
) -> dict[str, Measured]:
    """The metrics of images by their features in the extractor `name`.

    They are compared with the published statistics in `files`, by metric, or else with the data set's own features.
    """
    loaded = reference.load(own) if own is not None else None

    def against(metric: str) -> Reference:
        if metric in files:
            return published(files[metric], METRICS[metric].array)
        assert loaded is not None
        return loaded

    return measured(metrics, features, against, f"{EXTRACTORS[name].protocol()}/{rounding}")
