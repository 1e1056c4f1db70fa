"""The metrics of one cell's samples, each with its protocol and, where it can be had, its values without each block."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import save_file
from torch import Tensor

from ... import datasets
from ...datasets.base import to_unit_range
from ...datasets.captions import captions
from ...datasets.mixtures import MixtureSet
from ...datasets.registry import ArchiveError
from ...methods.randomness import generator
from ..errors import TaskError
from ..metrics.covariance import mean_and_covariance
from ..metrics.extractors import EXTRACTORS
from ..metrics.extractors.quantise import QUANTISERS
from ..metrics.metric import CLASSIFIER, FEATURES, LAW, LOGITS, LPIPS, PIXELS, SCORER
from ..metrics.moments import BlockMoments
from ..metrics.register import METRICS
from ..metrics.scoring import (
    SUBSET,
    CaptionReader,
    FeatureReader,
    Images8,
    Measured,
    Reference,
    arrays_of,
    measured,
    published,
    stream,
)
from ..plan.kinds import (
    CODEC,
    ExtractorParams,
    ExtractorResult,
    ImagesParams,
    Sampled,
    SampleParams,
    Scored,
    ScoreParams,
    TruthParams,
    reference_role,
)
from ..store import Artifact
from . import codec, extractor, own_features, reference, sample, truth
from . import images as images_made_elsewhere
from .codec import Decoder
from .context import Context
from .device import accelerator
from .scorer import of_scorer
from .shards import Mapped, Rows

TRUTH_SETTINGS = {PIXELS: "pixels/float", LPIPS: "vgg16-piq/224/float"}
"""What the protocol says of samples that are compared with the truth, by features."""
LATENTS = "latents/float"
PICTURES, SHOWN = "pictures.safetensors", 16
"""The first samples of a latent teacher, as pictures for figures."""


def run(task: Context[ScoreParams]) -> Scored:
    artifact, params = task.inputs["sample"], task.params
    if not (status := artifact.answer(Sampled).status).done:
        return Scored(status=status)
    device = accelerator(params.device)
    samples = _samples(artifact, task.inputs.get(CODEC), params.rounding, device)
    groups: dict[str, list[str]] = {}
    for name in params.metrics:
        groups.setdefault(METRICS[name].features, []).append(name)
    values: dict[str, Measured] = {}
    for features in (PIXELS, LPIPS):
        values |= of_truth(samples, task.inputs["truth"], groups.pop(features)) if features in groups else {}
    if CLASSIFIER in groups:
        values |= of_classifier(samples.x0, task.inputs["extractor"], groups.pop(CLASSIFIER), samples.setting)
    if SCORER in groups:
        texts = _texts(params, len(samples.x0))
        values |= of_scorer(samples.x0, texts, task.inputs["extractor"], groups.pop(SCORER), samples.setting)
    if LAW in groups:
        assert params.law is not None
        values |= of_law(samples.x0[:], params.law, groups.pop(LAW))
    values |= _of_networks(task, samples.images, groups, device)
    if samples.decoder is not None:
        shown = samples.images.read(slice(0, SHOWN))
        save_file({"x8": shown.contiguous()}, task.folder / PICTURES)
    drawn = artifact.answer(Sampled).labels
    said = values if drawn is None else {name: _said(value, drawn) for name, value in values.items()}
    return Scored(metrics=said, **samples.decoding())


def _of_networks(
    task: Context[ScoreParams], images: Images8, groups: dict[str, list[str]], device: str
) -> dict[str, Measured]:
    """The metrics of published networks, whose images are read once for all of them."""
    params, (compared, captioned) = task.params, _divided(groups)
    sides = {name: params.compared_at if _compared(metrics) else None for name, metrics in compared.items()}
    features = {
        name: FeatureReader(name, metrics, images.count, device, sides[name]) for name, metrics in compared.items()
    }
    texts = _texts(params, images.count)
    scores = {name: CaptionReader(METRICS[name].features, texts, device) for name in captioned}
    if features or scores:
        stream(images, [*features.values(), *scores.values()], task.on_progress)
    files = {metric: given["file"] for metric, given in params.references.items()}
    values = {name: reader.measured(name, images.rounding) for name, reader in scores.items()}
    for name, reader in features.items():
        own = task.inputs.get(reference_role(name))
        rounding = images.rounding if sides[name] is None else f"{images.rounding}/lanczos-{sides[name]}"
        values |= of_published(name, reader.features, compared[name], own, files, rounding)
    return values


def _divided(groups: dict[str, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
    """(metrics of features alone, by network; those that look at captions)."""
    plain = {name: [m for m in metrics if not METRICS[m].captioned] for name, metrics in groups.items()}
    captioned = [m for metrics in groups.values() for m in metrics if METRICS[m].captioned]
    return {name: metrics for name, metrics in plain.items() if metrics}, captioned


def _compared(metrics: list[str]) -> bool:
    """Whether pictures are made as small as the real images, which some of these metrics look at too."""
    return any(METRICS[name].against != "nothing" for name in metrics)


def _texts(params: ScoreParams, count: int) -> list[str]:
    """The caption of each sample, if a metric looks at captions."""
    if (asked := params.captions) is None:
        return []
    try:
        return captions(asked["dataset"], range(count), asked.get("content"))
    except ArchiveError as error:
        raise TaskError(str(error)) from None


@dataclass(frozen=True)
class Samples:
    """What is scored, read where it is asked for: `x0`, latents where there is a codec, and the same as images.

    setting: what was done to x0. exact: samples as the sampler made them: all, or the first, which have a truth.
    """

    x0: Rows
    images: Images8
    setting: str
    exact: Rows
    decoder: Decoder | None = None

    def pictures(self, of: Tensor) -> Tensor:
        """Samples as pictures about [-1, 1]."""
        return of if self.decoder is None else self.decoder.pictures(of)

    def decoding(self) -> dict[str, float]:
        return {} if self.decoder is None else self.decoder.costs()


def _samples(artifact: Artifact, latent: Artifact | None, rounding: str, device: str) -> Samples:
    if artifact.manifest["kind"] == ImagesParams.kind:
        return _of_8_bits(images_made_elsewhere.load(artifact), rounding)
    x0, quantise = sample.load(artifact), QUANTISERS[rounding]
    if (kept := artifact.asked(SampleParams).rounding) is not None:
        if kept != rounding:
            raise TaskError(f"the samples are kept in 8 bits of rounding {kept!r}, not {rounding!r}")
        return _of_8_bits(sample.rounded(artifact), rounding, x0)
    if latent is None:
        return Samples(x0, Images8(Mapped(x0, quantise).__getitem__, len(x0), rounding), "float", x0)
    decoder = Decoder(codec.load(latent, device))
    pictures = Mapped(x0, lambda part: quantise(decoder.pictures(part)))
    images = Images8(pictures.__getitem__, len(x0), f"{decoder.codec.identity}/{rounding}")
    return Samples(x0, images, "float", x0, decoder)


def _of_8_bits(x8: Rows, rounding: str, exact: Rows | None = None) -> Samples:
    x0 = Mapped(x8, to_unit_range)
    return Samples(x0, Images8(x8.__getitem__, len(x8), rounding), rounding, x0 if exact is None else exact)


def _said(value: Measured, labels: str) -> Measured:
    """With how the labels of the samples were drawn in the protocol, where that is not as the data have them."""
    return value if not value.protocol else value.model_copy(update={"protocol": f"{value.protocol}/{labels} labels"})


def of_truth(samples: Samples, artifact: Artifact, metrics: list[str]) -> dict[str, Measured]:
    """The metrics of samples beside the exact solutions from the same noises, as many as there are."""
    truths = truth.load(artifact)[:]
    made = samples.exact[: len(truths)]
    tolerance, values = artifact.asked(TruthParams).tolerance, dict[str, Measured]()
    for metric in map(METRICS.__getitem__, metrics):
        of_images = samples.decoder is not None and not metric.of_samples
        fake, real = made, truths
        setting = TRUTH_SETTINGS[metric.features]
        if of_images:
            fake, real = samples.pictures(made), samples.pictures(truths)
            setting = f"{setting}/{samples.images.rounding.rpartition('/')[0]}"
        elif samples.decoder is not None:
            setting = LATENTS
        exact = Reference(f"rk45@{tolerance:g}", truth=real)
        values |= measured([metric.name], {metric.array: fake}, lambda name, exact=exact: exact, setting)  # type: ignore[misc]
    return values


def of_law(x0: Tensor, dataset: str, metrics: list[str]) -> dict[str, Measured]:
    """The metrics of samples (N, ...) beside the moments of their law, which are those of no images."""
    law = datasets.get(dataset)
    assert isinstance(law, MixtureSet)
    mean, covariance = law.moments()
    exact = Reference(f"{dataset}-law", {"": (mean.numpy(), covariance.numpy())})
    return measured(metrics, {"": x0.flatten(1)}, lambda metric: exact, "samples/float")


def of_classifier(x0: Rows, artifact: Artifact, metrics: list[str], rounding: str) -> dict[str, Measured]:
    """The metrics of samples (N, ...) in [-1, 1] by the data set's own classifier; rounding: what was done to them."""
    classifier, real = extractor.load(artifact)
    dataset = artifact.asked(ExtractorParams).dataset
    # No hash of anything computed: the protocol is the same wherever weights and images are.
    weights, digits = (
        artifact.manifest["files"][extractor.WEIGHTS]["sha256"][:8],
        artifact.answer(ExtractorResult).pixels[:8],
    )
    fake, every = {FEATURES: own_features.features(classifier, x0)}, {FEATURES: real}
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
    features: Mapping[str, Tensor | BlockMoments],
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
