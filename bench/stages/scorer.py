"""The metrics of samples by the data set's own scorer of images with captions."""

import hashlib

import torch
from torch import Tensor

from ...datasets.captions import captions
from ..metrics.covariance import mean_and_covariance
from ..metrics.measured import Measured
from ..metrics.metric import COSINES, FEATURES, RIGHT
from ..metrics.register import METRICS
from ..metrics.scoring import Reference, measured
from ..plan.kinds import ExtractorParams, ExtractorResult
from ..store import Artifact
from . import extractor


def of_scorer(x0: Tensor, artifact: Artifact, metrics: list[str], rounding: str) -> dict[str, Measured]:
    """The metrics of samples (N, ...) in [-1, 1], of which sample i has caption i; rounding: what was done to them."""
    scorer, real = extractor.load(artifact)
    dataset, frozen = artifact.asked(ExtractorParams).dataset, captions(artifact.asked(ExtractorParams).dataset)
    found = extractor.features(scorer, x0)
    cosines, rows = extractor.logits(scorer, found), torch.arange(len(x0)) % len(frozen)
    fake = {
        FEATURES: found,
        COSINES: 100 * cosines.gather(1, rows[:, None])[:, 0],
        RIGHT: scorer.right(cosines, rows),
    }
    pixels = artifact.answer(ExtractorResult).pixels[:8]
    pictures = Reference(f"{dataset}-{len(real)}@{pixels}", {FEATURES: mean_and_covariance(real)})
    digits = hashlib.sha256("\n".join(frozen).encode()).hexdigest()[:8]
    texts = Reference(f"captions@{digits}")

    def against(metric: str) -> Reference:
        return texts if METRICS[metric].against == "captions" else pictures

    weights = artifact.manifest["files"][extractor.WEIGHTS]["sha256"][:8]
    return measured(sorted(metrics), fake, against, f"{dataset}-scorer@{weights}/native/{rounding}")
