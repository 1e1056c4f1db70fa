"""Scores of images with their captions."""

from ..metric import Comparison, Metric, Value

BATCH = 64
"""Scores that are summed at a time: the order of a sum moves its last digit."""


def mean(samples: Comparison) -> Value:
    scores = samples.fake.double()
    total, count = sum(float(part.sum()) for part in scores.split(BATCH)), len(scores)
    if count == 1:
        return Value(total)
    return Value(total / count, [(total - float(scores[a:b].sum())) / (count - b + a) for a, b in samples.blocks])


METRICS = (
    Metric(
        name="clip_score",
        display="CLIP score (B/32)",
        summary="100 x cosine of image and caption, ViT-B/32",
        features="clip-vitb32",
        array="image",
        compute=mean,
        against="captions",
        higher_is_better=True,
        enough=1_000,
        papers=("hessel2021clipscore",),
    ),
    Metric(
        name="clip_score_g14",
        display="CLIP score (g/14)",
        summary="100 x cosine of image and caption, ViT-g/14",
        features="clip-vitg14",
        array="image",
        compute=mean,
        against="captions",
        higher_is_better=True,
        enough=1_000,
        papers=("hessel2021clipscore",),
    ),
    Metric(
        name="hpsv2",
        display="HPS v2",
        summary="human preference score v2 x 100",
        features="hpsv2",
        array="image",
        compute=mean,
        against="captions",
        higher_is_better=True,
        enough=1_000,
    ),
    Metric(
        name="hpsv2_1",
        display="HPS v2.1",
        summary="human preference score v2.1 x 100",
        features="hpsv2.1",
        array="image",
        compute=mean,
        against="captions",
        higher_is_better=True,
        enough=1_000,
    ),
    Metric(
        name="pickscore",
        display="PickScore",
        summary="PickScore, about 20 to 23",
        features="pickscore",
        array="image",
        compute=mean,
        against="captions",
        higher_is_better=True,
        enough=1_000,
    ),
    Metric(
        name="image_reward",
        display="ImageReward",
        summary="ImageReward, about -2 to 2",
        features="image-reward",
        array="image",
        compute=mean,
        against="captions",
        higher_is_better=True,
        enough=1_000,
        papers=("xu2023imagereward",),
    ),
)
