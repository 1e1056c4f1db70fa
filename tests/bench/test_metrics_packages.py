"""The same features through other packages' metrics (`pip install fewstep[test]`)."""

import numpy as np
import pytest
import torch

from fewstep.bench.metrics import (
    frechet_distance,
    frechet_from_moments,
    inception_score,
    kernel_distance_subsets,
    manifold_scores,
    precision_recall,
)

DIMENSIONS = 48


@pytest.fixture(scope="module")
def pair():
    """Features after ReLU, (real, fake), float64."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((DIMENSIONS, DIMENSIONS)) / DIMENSIONS**0.5
    real = np.maximum(rng.standard_normal((700, DIMENSIONS)) @ mixing + 0.3, 0)
    fake = np.maximum(0.9 * rng.standard_normal((600, DIMENSIONS)) @ mixing + 0.35, 0)
    return torch.from_numpy(real), torch.from_numpy(fake)


def test_torch_fidelity_has_the_same_frechet_distance(pair):
    package = pytest.importorskip("torch_fidelity.metric_fid")
    statistics = [package.fid_features_to_statistics(part) for part in pair]
    exact = package.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(*pair) == pytest.approx(exact, rel=1e-9)


def test_torch_fidelity_has_the_same_kernel_distance_of_subsets(pair):
    package = pytest.importorskip("torch_fidelity.metric_kid")
    real, fake = pair
    options = {"kid_subsets": 20, "kid_subset_size": 300, "verbose": False}
    exact = package.kid_features_to_metric(fake, real, **options)
    found = kernel_distance_subsets(real, fake, subsets=20, size=300)
    assert found[0] == pytest.approx(exact["kernel_inception_distance_mean"], rel=1e-9)
    assert found[1] == pytest.approx(exact["kernel_inception_distance_std"], rel=1e-9)


def test_torch_fidelity_has_the_same_inception_score(pair):
    package = pytest.importorskip("torch_fidelity.metric_isc")
    for splits in (1, 9):
        exact = package.isc_features_to_metric(pair[0], splits)
        exact = exact["inception_score_mean"], exact["inception_score_std"]
        assert inception_score(pair[0], splits) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("k", [3, 5])
def test_torch_fidelity_has_the_same_precision_and_recall(pair, k):
    package = pytest.importorskip("torch_fidelity.metric_prc")
    real, fake = pair
    exact = package.prc_features_to_metric(fake, real, prc_neighborhood=k, verbose=False)
    assert precision_recall(real, fake, k) == pytest.approx((exact["precision"], exact["recall"]), abs=1e-6)


def test_clean_fids_definition_gives_the_same_distance(pair):
    """Its own function calls SciPy's root with an argument that is gone; the root of the product is its formula."""
    linalg = pytest.importorskip("scipy.linalg")
    (mean1, cov1), (mean2, cov2) = ((part.mean(0).numpy(), np.cov(part.numpy(), rowvar=False)) for part in pair)
    root = np.trace(linalg.sqrtm(cov1 @ cov2)).real
    exact = (mean1 - mean2) @ (mean1 - mean2) + np.trace(cov1) + np.trace(cov2) - 2 * root
    assert frechet_distance(*pair) == pytest.approx(exact, rel=1e-9)
    assert frechet_from_moments(mean1, cov1, mean2, cov2) == pytest.approx(exact, rel=1e-9)


def test_torchmetrics_has_the_same_frechet_distance(pair):
    package = pytest.importorskip("torchmetrics.image.fid")
    (mean1, cov1), (mean2, cov2) = ((part.mean(0), part.T.cov()) for part in pair)
    exact = float(package._compute_fid(mean1, cov1, mean2, cov2))
    assert frechet_distance(*pair) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("k", [3, 5])
def test_prdc_has_the_same_scores_where_no_row_is_on_an_edge(pair, k):
    package = pytest.importorskip("prdc")
    real, fake = pair
    exact = package.compute_prdc(real.numpy(), fake.numpy(), k)
    assert manifold_scores(real, fake, k)._asdict() == pytest.approx(exact, rel=1e-12)


def test_prdc_leaves_the_edge_of_a_ball_out():
    """Unlike the papers' own code: whole numbers in a line, each ball's edge on the neighbours."""
    package = pytest.importorskip("prdc")
    line = np.arange(20.0)[:, None]
    assert package.compute_prdc(line[::2], line[1::2] + 1, 1)["precision"] < 1
    assert precision_recall(line[::2], line[1::2] + 1, 1) == (1, 1)
