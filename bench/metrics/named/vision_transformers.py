"""Metrics in the features of DINOv2 and CLIP: FD-DINOv2, CMMD, LAION's aesthetic score."""

from ..metric import Comparison, Metric, Value


def frechet(samples: Comparison) -> Value:
    from ..moments import frechet_of

    return Value(*frechet_of(samples.fake, samples.reference, samples.blocks))


def maximum_mean_discrepancy(samples: Comparison) -> Value:
    from ..kernel import cmmd

    return Value(cmmd(samples.reference, samples.fake), setting="sigma=10")


def mean(samples: Comparison) -> Value:
    return Value(float(samples.fake.double().mean()))


METRICS = (
    Metric(
        name="fd_dinov2",
        display="FD (DINOv2)",
        summary="Fréchet distance in DINOv2's features",
        features="dinov2-vitl14",
        array="cls",
        compute=frechet,
        against="moments",
        of_moments=True,
        enough=50_000,
        log_scale=True,
        papers=("stein2023exposing",),
    ),
    Metric(
        name="cmmd",
        display="CMMD",
        summary="maximum mean discrepancy in CLIP's features x 1000",
        features="clip-vitl14-336",
        array="image",
        compute=maximum_mean_discrepancy,
        against="rows",
        enough=5_000,
        papers=("jayasumana2024rethinking",),
    ),
    Metric(
        name="aesthetic",
        display="aesthetic score",
        summary="LAION's aesthetic score, 1 to 10",
        features="aesthetic",
        array="aesthetic",
        compute=mean,
        against="nothing",
        higher_is_better=True,
        enough=1_000,
    ),
)
