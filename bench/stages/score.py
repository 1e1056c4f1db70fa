"""The metrics of one cell's samples, each with its protocol and, where it can be had, its values without each block."""

from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ...datasets.registry import DATASETS
from ...methods.distillation.perceptual import Perceptual
from ...methods.randomness import generator
from ...reports import jackknife
from ...reports.measures import CLASSIFIER, LPIPS, MEASURES, PIXELS
from ..metrics import ManifoldScores, class_coverage, frechet_distance, frechet_without, manifold_scores, psnr_per_image
from ..metrics import scoring as measuring
from ..metrics.extractors import EXTRACTORS
from ..metrics.extractors.quantise import QUANTISERS
from ..store import Artifact
from . import extractor, reference, sample, truth
from .context import Context
from .device import accelerator


def run(task: Context) -> dict[str, Any]:
    """{"status", "metrics": {name: {"value", "samples", "protocol", "without"}}}.

    "without" holds the value with each of jackknife.BLOCKS blocks of samples left out.
    """
    status = task.inputs["sample"].result["status"]
    if status != "done":
        return {"status": status, "metrics": {}}
    x0 = sample.load(task.inputs["sample"])
    groups: dict[str, list[str]] = {}
    for name in task.params["metrics"]:
        groups.setdefault(MEASURES[name].features, []).append(name)
    values: dict[str, Any] = {}
    if "truth" in task.inputs:
        values |= _against_truth(x0, task, [*groups.pop(PIXELS, []), *groups.pop(LPIPS, [])])
    if "extractor" in task.inputs:
        values |= of_classifier(x0, task.inputs["extractor"], set(groups.pop(CLASSIFIER)), "float")
    for name, metrics in groups.items():
        rounding, own = task.params["rounding"], task.inputs.get(f"reference {name}")
        images = QUANTISERS[rounding](x0)
        files = {metric: given["file"] for metric, given in task.params["references"].items()}
        device = accelerator(task.params["device"])
        values |= of_published(
            images.__getitem__, len(images), name, metrics, own, files, device, task.on_progress, rounding
        )
    return {"status": "done", "metrics": values}


def _against_truth(x0: Tensor, task: Context, wanted: list[str]) -> dict[str, Any]:
    exact = task.inputs["truth"]
    truths = load_file(exact.file(truth.SAMPLES))["x0"]
    x0 = x0[: len(truths)]
    values = {}
    for name in wanted:
        per_sample = PER_SAMPLE[name](x0, truths)
        protocol = f"{name}/{SETTINGS[name]}/{len(truths)}/rk45@{exact.manifest['params']['tolerance']:g}"
        values[name] = {"value": float(per_sample.mean()), "samples": len(truths), "protocol": protocol}
        if len(truths) > 1:
            values[name]["without"] = _means_without(per_sample)
    return values


def _means_without(values: Tensor) -> list[float]:
    blocks = jackknife.bounds(len(values))
    return [float((values.sum() - values[a:b].sum()) / (len(values) - (b - a))) for a, b in blocks]


def _lpips(x0: Tensor, truths: Tensor) -> Tensor:
    """LPIPS of each sample to its truth, (N,) float64."""
    distance = Perceptual.load()
    with torch.no_grad():
        parts = zip(x0.float().split(measuring.BATCH), truths.float().split(measuring.BATCH), strict=True)
        return torch.cat([distance(x, y) for x, y in parts]).double()


def of_classifier(x0: Tensor, artifact: Artifact, wanted: set[str], rounding: str) -> dict[str, Any]:
    """The metrics of samples (N, ...) in [-1, 1] by the data set's own classifier; rounding: what was done to them."""
    classifier, real = extractor.load(artifact)
    fake = extractor.features(classifier, x0)
    dataset = artifact.manifest["params"]["dataset"]
    quality = DATASETS[dataset].quality
    manifolds: dict[int, ManifoldScores] = {}

    def value(name: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        count, suffix = f"{len(real)}", ""
        if name == quality:
            found["value"] = frechet_distance(real, fake)
            found["without"] = frechet_without(real, fake, jackknife.bounds(len(fake)))
        elif name == "class_coverage":
            seen = [extractor.classes(classifier, part) for part in (real, fake)]
            found["value"] = class_coverage(seen[0], seen[1], classifier.head.out_features)
        else:
            k, rows = measuring.NEIGHBOURS[name], real[_some(dataset, len(real))]
            # float64 keeps distances that are equal equal; these features are few.
            scores = manifolds.get(k) or manifold_scores(rows.double(), fake.double(), k)
            manifolds[k], found["value"], suffix = scores, getattr(scores, name), f"/k={k}"
            count = count if len(rows) == len(real) else f"{len(rows)}of{count}"
        setting = protocol(artifact, rounding, count, len(fake))
        return {**found, "samples": len(fake), "protocol": f"{name}/{setting}{suffix}"}

    return {name: measuring.attempted(lambda name=name: value(name)) for name in sorted(wanted)}  # type: ignore[misc]


def _some(dataset: str, count: int) -> Tensor:
    """Which reference images are compared with one by one: all, or a fixed draw of measuring.SUBSET."""
    return torch.randperm(count, generator=generator(0, f"{dataset}-reference"))[: measuring.SUBSET]


def protocol(artifact: Artifact, rounding: str, count: str, samples: int) -> str:
    """extractor@weights/resize/rounding/samples/reference@pixels: what a value of its features depends on.

    No hash of anything computed: the same protocol on every machine that reads the same weights and the same images.
    """
    weights = artifact.manifest["files"][extractor.WEIGHTS]["sha256"][:8]
    pixels = artifact.result["pixels"][:8]
    dataset = artifact.manifest["params"]["dataset"]
    return f"{dataset}-classifier@{weights}/native/{rounding}/{samples}/{dataset}-{count}@{pixels}"


def of_published(
    images: Callable[[slice], Tensor],
    count: int,
    name: str,
    metrics: list[str],
    own: Artifact | None,
    files: dict[str, str],
    device: str,
    on_progress: Callable[[float], None],
    rounding: str,
) -> dict[str, Any]:
    """The metrics of uint8 images, images(slice) (B, C, H, W), by an extractor of published weights.

    They are compared with the published statistics in `files`, by metric, or else with the data set's own features.
    """
    features = measuring.features_of(name, images, count, measuring.arrays_of(metrics), device, on_progress)
    loaded = reference.load(own) if own is not None else None

    def against(metric: str) -> measuring.Reference:
        if metric in files:
            return measuring.published(files[metric], MEASURES[metric].array)
        assert loaded is not None
        return loaded

    return measuring.measured(metrics, features, against, f"{EXTRACTORS[name].protocol()}/{rounding}")


def per_sample_rmse(x0: Tensor, exact: Tensor) -> Tensor:
    """Root mean square distance per pixel of each sample to its truth, (N,) float64."""
    return (x0.double() - exact.double()).square().flatten(1).mean(1).sqrt()


def rmse(x0: Tensor, exact: Tensor) -> float:
    """The mean of `per_sample_rmse`."""
    return float(per_sample_rmse(x0, exact).mean())


PER_SAMPLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rmse": per_sample_rmse,
    "psnr": psnr_per_image,
    "lpips": _lpips,
}
SETTINGS = {"rmse": "pixels/float", "psnr": "pixels/float", "lpips": "vgg16-piq/224/float"}
