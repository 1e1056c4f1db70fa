"""Metrics by the scorer of the data set `scenes`, which is trained on its pictures and captions. Not CLIP, not FID."""

from ..metric import COSINES, FEATURES, RIGHT, SCORER, Comparison, Metric, Value
from . import truth
from .classifier import frechet

ENOUGH = 400
"""One sample for each caption."""


def mean(samples: Comparison) -> Value:
    return truth.mean(samples.fake.double(), samples)


METRICS = (
    Metric(
        name="fd_scenes",
        display="FD (scenes)",
        summary="Fréchet distance in the features of a small scorer of scenes, not FID",
        features=SCORER,
        array=FEATURES,
        compute=frechet,
        against="moments",
        enough=ENOUGH,
        log_scale=True,
        specific=True,
        papers=("heusel2017gans",),
    ),
    Metric(
        name="clip_scenes",
        display="CLIP score (scenes)",
        summary="100 x cosine of picture and caption by the same scorer, not CLIP",
        features=SCORER,
        array=COSINES,
        compute=mean,
        against="captions",
        higher_is_better=True,
        enough=ENOUGH,
        papers=("hessel2021clipscore",),
    ),
    Metric(
        name="caption_recall",
        display="caption recall",
        summary="share of pictures to which no other of the 200 meanings is nearer than their caption's, same scorer",
        features=SCORER,
        array=RIGHT,
        compute=mean,
        against="captions",
        higher_is_better=True,
        enough=ENOUGH,
    ),
)
