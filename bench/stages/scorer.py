"""The metrics of samples by the data set's own scorer of images with captions."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...datasets.captions import captions
from ..metrics.covariance import mean_and_covariance
from ..metrics.measured import Measured
from ..metrics.metric import COSINES, FEATURES, RIGHT
from ..metrics.register import METRICS
from ..metrics.scoring import Reference, identity, measured
from ..plan.kinds import ExtractorParams, ExtractorResult
from ..store import Artifact
from . import extractor


def of_scorer(
    x0: Tensor, texts: Sequence[str], artifact: Artifact, metrics: list[str], rounding: str
) -> dict[str, Measured]:
    """The metrics of samples (N, ...) in [-1, 1]; rounding: what was done to them.

    texts: the caption of each, one of the data set's; none if no metric looks at them.
    """
    scorer, real = extractor.load(artifact)
    dataset = artifact.asked(ExtractorParams).dataset
    fake = {FEATURES: extractor.features(scorer, x0)}
    if texts:
        row = {text: i for i, text in enumerate(captions(dataset))}
        rows = torch.tensor([row[text] for text in texts])
        cosines = extractor.logits(scorer, fake[FEATURES])
        fake |= {COSINES: 100 * cosines.gather(1, rows[:, None])[:, 0], RIGHT: scorer.right(cosines, rows)}
    pixels = artifact.answer(ExtractorResult).pixels[:8]
    pictures = Reference(f"{dataset}-{len(real)}@{pixels}", {FEATURES: mean_and_covariance(real)})
    told = Reference(identity(texts))

    def against(metric: str) -> Reference:
        return told if METRICS[metric].captioned else pictures

    weights = artifact.manifest["files"][extractor.WEIGHTS]["sha256"][:8]
    return measured(sorted(metrics), fake, against, f"{dataset}-scorer@{weights}/native/{rounding}")
