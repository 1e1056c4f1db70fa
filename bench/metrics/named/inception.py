"""Metrics in the features of the Inception network of TensorFlow, by each of the published ways to resize."""

from collections.abc import Callable

from ..metric import Comparison, Metric, Value


def frechet(samples: Comparison) -> Value:
    from ..moments import frechet_of

    return Value(*frechet_of(samples.fake, samples.reference, samples.blocks))


def kid(samples: Comparison) -> Value:
    from ..kernel import kernel_distance

    return Value(1000 * kernel_distance(samples.reference, samples.fake), setting="all pairs")


def kid_subsets(samples: Comparison) -> Value:
    from ..kernel import kernel_distance_subsets

    mean, _ = kernel_distance_subsets(samples.reference, samples.fake)
    return Value(1000 * mean, setting="subsets=100x1000")


def inception_score(samples: Comparison) -> Value:
    from ..inception import inception_score

    mean, _ = inception_score(samples.fake)
    return Value(mean, setting="splits=10")


def neighbours(score: str, k: int) -> Callable[[Comparison], Value]:
    """The field `score` of ManifoldScores, k as in its paper; one pass serves all the scores of the same k."""

    def compute(samples: Comparison) -> Value:
        from ..manifold import manifold_scores

        return Value(getattr(samples.once(manifold_scores, k), score), setting=f"k={k}")

    return compute


METRICS = (
    Metric(
        name="fid",
        display="FID",
        summary="Fréchet inception distance, TensorFlow's resize (EDM, ADM)",
        features="inception-tf1",
        array="pool",
        compute=frechet,
        against="moments",
        of_moments=True,
        enough=50_000,
        log_scale=True,
        papers=("heusel2017gans",),
    ),
    Metric(
        name="fid_clean",
        display="FID (clean)",
        summary="Fréchet inception distance, clean-fid's resize",
        features="inception-clean",
        array="pool",
        compute=frechet,
        against="moments",
        of_moments=True,
        enough=50_000,
        log_scale=True,
        papers=("heusel2017gans", "parmar2022aliased"),
    ),
    Metric(
        name="fid_legacy",
        display="FID (legacy)",
        summary="Fréchet inception distance, pytorch-fid's resize",
        features="inception-legacy-pytorch",
        array="pool",
        compute=frechet,
        against="moments",
        of_moments=True,
        enough=50_000,
        log_scale=True,
        papers=("heusel2017gans",),
    ),
    Metric(
        name="sfid",
        display="sFID",
        summary="Fréchet distance in Inception's spatial features",
        features="inception-tf1",
        array="spatial",
        compute=frechet,
        against="moments",
        of_moments=True,
        enough=50_000,
        log_scale=True,
        papers=("nash2021generating",),
    ),
    Metric(
        name="kid",
        display="KID x 1000",
        summary="kernel inception distance x 1000, over all pairs",
        features="inception-tf1",
        array="pool",
        compute=kid,
        against="rows",
        enough=1_000,
        papers=("binkowski2018demystifying",),
    ),
    Metric(
        name="kid_subsets",
        display="KID x 1000 (subsets)",
        summary="the same as papers have it, 100 subsets of 1,000",
        features="inception-tf1",
        array="pool",
        compute=kid_subsets,
        fewest=1000,
        against="rows",
        enough=1_000,
        papers=("binkowski2018demystifying",),
    ),
    Metric(
        name="inception_score",
        display="Inception score",
        summary="Inception score, ten splits",
        features="inception-tf1",
        array="logits",
        compute=inception_score,
        fewest=10,
        against="nothing",
        higher_is_better=True,
        enough=50_000,
        papers=("salimans2016improved",),
    ),
    Metric(
        name="inception_precision",
        display="precision (Inception)",
        summary="share of samples inside the manifold of real images, k = 3, Inception features",
        features="inception-tf1",
        array="pool",
        compute=neighbours("precision", k=3),
        fewest=4,
        against="rows",
        higher_is_better=True,
        enough=10_000,
        pair="inception_recall",
        papers=("kynkaanniemi2019improved",),
    ),
    Metric(
        name="inception_recall",
        display="recall (Inception)",
        summary="share of real images inside the manifold of samples, k = 3, Inception features",
        features="inception-tf1",
        array="pool",
        compute=neighbours("recall", k=3),
        fewest=4,
        against="rows",
        higher_is_better=True,
        enough=10_000,
        pair="inception_precision",
        papers=("kynkaanniemi2019improved",),
    ),
    Metric(
        name="inception_density",
        display="density (Inception)",
        summary="real balls that a sample lies in, mean over k = 5, Inception features",
        features="inception-tf1",
        array="pool",
        compute=neighbours("density", k=5),
        fewest=6,
        against="rows",
        higher_is_better=True,
        enough=10_000,
        pair="inception_coverage",
        papers=("naeem2020reliable",),
    ),
    Metric(
        name="inception_coverage",
        display="coverage (Inception)",
        summary="share of real images whose ball, k = 5, holds a sample, Inception features",
        features="inception-tf1",
        array="pool",
        compute=neighbours("coverage", k=5),
        fewest=6,
        against="rows",
        higher_is_better=True,
        enough=10_000,
        pair="inception_density",
        papers=("naeem2020reliable",),
    ),
)
