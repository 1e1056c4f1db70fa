"""The metrics of one cell's samples, each with its protocol and, where it can be had, its values without each block."""

from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from ...datasets.registry import DATASETS
from ...reports import jackknife
from ..metrics import class_coverage, frechet_distance, frechet_without, precision_recall
from ..store import Artifact
from . import extractor, sample, truth
from .context import Context

NEIGHBOURS = 3


def run(task: Context) -> dict[str, Any]:
    """{"status", "metrics": {name: {"value", "samples", "protocol", "without"}}}.

    "without" holds the value with each of jackknife.BLOCKS blocks of samples left out.
    """
    status = task.inputs["sample"].result["status"]
    if status != "done":
        return {"status": status, "metrics": {}}
    x0 = sample.load(task.inputs["sample"])
    wanted, values = set(task.params["metrics"]), {}
    if "rmse" in wanted:
        values["rmse"] = _rmse(x0, task.inputs["truth"])
    if "extractor" in task.inputs:
        values |= _of_features(x0, task.inputs["extractor"], wanted)
    return {"status": "done", "metrics": values}


def _rmse(x0: Tensor, exact: Artifact) -> dict[str, Any]:
    truths = load_file(exact.file(truth.SAMPLES))["x0"]
    errors = per_sample_rmse(x0[: len(truths)], truths)
    rest = [(errors.sum() - errors[a:b].sum()) / (len(errors) - (b - a)) for a, b in jackknife.bounds(len(errors))]
    return {
        "value": rmse(x0[: len(truths)], truths),
        "samples": len(truths),
        "protocol": f"rmse/pixels/float/{len(truths)}/rk45@{exact.manifest['params']['tolerance']:g}",
        "without": [float(value) for value in rest],
    }


def _of_features(x0: Tensor, artifact: Artifact, wanted: set[str]) -> dict[str, Any]:
    classifier, reference = extractor.load(artifact)
    features = extractor.features(classifier, x0)
    quality = DATASETS[artifact.manifest["params"]["dataset"]].quality
    values: dict[str, Any] = {}
    if quality in wanted:
        without = frechet_without(reference, features, jackknife.bounds(len(x0)))
        values[quality] = {"value": frechet_distance(reference, features), "without": without}
    if wanted & {"precision", "recall"}:
        precision, recall = precision_recall(reference, features, NEIGHBOURS)
        pair = {"precision": {"value": precision}, "recall": {"value": recall}}
        values |= {name: pair[name] for name in wanted & set(pair)}
    if "class_coverage" in wanted:
        real, fake = (extractor.classes(classifier, part) for part in (reference, features))
        values["class_coverage"] = {"value": class_coverage(real, fake, classifier.head.out_features)}
    for name, value in values.items():
        suffix = f"/k={NEIGHBOURS}" if name in ("precision", "recall") else ""
        value |= {"samples": len(x0), "protocol": f"{name}/{protocol(artifact, len(reference), len(x0))}{suffix}"}
    return values


def protocol(artifact: Artifact, reference: int, samples: int) -> str:
    """extractor@weights/resize/rounding/samples/reference@features: what a value of its features depends on."""
    files = artifact.manifest["files"]
    weights, features = (files[name]["sha256"][:8] for name in (extractor.WEIGHTS, extractor.REFERENCE))
    dataset = artifact.manifest["params"]["dataset"]
    return f"{dataset}-classifier@{weights}/native/float/{samples}/{dataset}-{reference}@{features}"


def per_sample_rmse(x0: Tensor, exact: Tensor) -> Tensor:
    """Root mean square distance per pixel of each sample to its truth, (N,) float64."""
    return (x0.double() - exact.double()).square().flatten(1).mean(1).sqrt()


def rmse(x0: Tensor, exact: Tensor) -> float:
    """The mean of `per_sample_rmse`."""
    return float(per_sample_rmse(x0, exact).mean())
