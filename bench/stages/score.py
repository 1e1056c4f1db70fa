"""The metrics of one cell's samples."""

from typing import Any

import torch
from safetensors.torch import load_file

from ..metrics import class_coverage, frechet_distance, precision_recall
from . import extractor, sample, truth
from .context import Context

BATCH = 512


def run(task: Context) -> dict[str, Any]:
    """{"status", "metrics": {name: {"value", "samples"}}}."""
    status = task.inputs["sample"].result["status"]
    if status != "done":
        return {"status": status, "metrics": {}}
    x0 = sample.load(task.inputs["sample"])
    wanted, values = set(task.params["metrics"]), {}
    if "rmse" in wanted:
        exact = load_file(task.inputs["truth"].file(truth.SAMPLES))["x0"]
        values["rmse"] = {"value": rmse(x0[: len(exact)], exact), "samples": len(exact)}
    if "extractor" in task.inputs:
        classifier, reference = extractor.load(task.inputs["extractor"])
        with torch.no_grad():
            features = torch.cat([classifier.features(part) for part in x0.float().split(BATCH)])
        if "fd_digits" in wanted:
            values["fd_digits"] = {"value": frechet_distance(reference, features), "samples": len(x0)}
        if wanted & {"precision", "recall"}:
            precision, recall = precision_recall(reference, features)
            pair = {"precision": precision, "recall": recall}
            values |= {name: {"value": pair[name], "samples": len(x0)} for name in wanted & set(pair)}
        if "class_coverage" in wanted:
            with torch.no_grad():
                real, fake = (classifier.head(part).argmax(1) for part in (reference, features))
            classes = classifier.head.out_features
            values["class_coverage"] = {"value": class_coverage(real, fake, classes), "samples": len(x0)}
    return {"status": "done", "metrics": values}


def rmse(x0: torch.Tensor, exact: torch.Tensor) -> float:
    """Root mean square distance per pixel of each sample to its truth, averaged over samples."""
    return float((x0.double() - exact.double()).square().flatten(1).mean(1).sqrt().mean())
