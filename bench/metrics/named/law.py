"""Metrics of samples of data whose law is known: no features are learned and no images drawn to compare with."""

from ..metric import LAW, Comparison, Metric, Value


def frechet(samples: Comparison) -> Value:
    from ..frechet import frechet_to_reference

    return Value(*frechet_to_reference(samples.reference, samples.fake, samples.blocks))


METRICS = (
    Metric(
        name="fd_law",
        display="FD (law)",
        summary="Fréchet distance of the samples themselves to the exact mean and covariance of their law",
        features=LAW,
        compute=frechet,
        against="moments",
        enough=1000,
        log_scale=True,
        papers=("heusel2017gans",),
    ),
)
