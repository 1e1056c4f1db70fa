"""Metrics against values that several packages agree on."""

import json

import numpy as np
import pytest
import torch

from fewstep import datasets
from fewstep.bench.metrics import (
    class_coverage,
    frechet_distance,
    frechet_from_moments,
    kernel_distance,
    precision_recall,
)
from fewstep.bench.metrics.classifier import RECIPES
from fewstep.bench.stages.score import rmse
from fewstep.methods.randomness import generator

EXACT_FIRST = ("mpmath_40_digits", "numpy_svd_of_features_float64", "numpy_eigh_factor_float64")


@pytest.fixture(scope="module")
def sets(reference_folder):
    """(name, real features, fake features, expected values) of every feature set in the reference."""
    folder = reference_folder / "metrics"
    expected = json.loads((folder / "expected_values.json").read_text())
    found = []
    for name, values in expected.items():
        if (folder / f"{name}.npz").is_file():
            arrays = np.load(folder / f"{name}.npz", allow_pickle=False)
            if {"real", "fake"} <= set(arrays.files):
                found.append((name, arrays["real"].astype(np.float32), arrays["fake"].astype(np.float32), values))
    assert found
    return found


def test_reference_frechet_distance(sets):
    for name, real, fake, values in sets:
        if "frechet_distance" in values:
            exact = next(values["frechet_distance"][key] for key in EXACT_FIRST if key in values["frechet_distance"])
            assert frechet_distance(real, fake) == pytest.approx(exact, rel=1e-9), name


def test_reference_frechet_distance_of_gaussians_with_a_known_transport(reference_folder):
    pair = np.load(reference_folder / "metrics" / "gaussian_pair8.npz", allow_pickle=False)
    m1, s1, m2, s2, transport = (pair[key] for key in ("mu1", "sigma1", "mu2", "sigma2", "transport"))
    exact = ((m1 - m2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * np.trace(s1 @ transport)
    assert frechet_from_moments(m1, s1, m2, s2) == pytest.approx(exact, rel=1e-9)


def test_reference_kernel_distance(sets):
    for name, real, fake, values in sets:
        if "kid_poly3" in values:
            exact = values["kid_poly3"]["float64_full_U_statistic"]
            assert kernel_distance(real, fake) == pytest.approx(exact, rel=1e-10, abs=1e-12), name


def test_reference_precision_and_recall_count_the_edge_of_the_ball(sets):
    for name, real, fake, values in sets:
        for key in [key for key in values if key.startswith("prdc_k")]:
            exact = values[key]["scipy_cdist_leq"]
            precision, recall = precision_recall(real, fake, int(key.removeprefix("prdc_k")))
            assert round(precision * len(fake)) == round(exact["precision"] * len(fake)), name
            assert round(recall * len(real)) == round(exact["recall"] * len(real)), name


def blobs(n, seed, shift=0.0):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed)) + shift


def test_identical_sets_have_distance_zero_and_full_coverage():
    x = blobs(300, 0)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-8)
    assert precision_recall(x, x) == (1.0, 1.0)


def test_a_collapsed_generator_has_no_recall():
    real = blobs(500, 0)
    collapsed = real.mean(0) + 1e-3 * blobs(500, 1)
    precision, recall = precision_recall(real, collapsed)
    assert precision > 0.95
    assert recall < 0.01


def test_class_coverage_is_what_the_proportions_share():
    real = torch.arange(10).repeat(100)
    assert class_coverage(real, real.flip(0), 10) == 1
    assert class_coverage(real, torch.full((50,), 3), 10) == pytest.approx(0.1)
    assert class_coverage(real, real[real < 5], 10) == pytest.approx(0.5)
    drawn = torch.randint(10, (1797,), generator=generator(0, "classes"))
    assert 0.95 < class_coverage(real, drawn, 10) < 1


def test_metrics_do_not_depend_on_the_order_of_samples():
    real, fake = blobs(300, 0), blobs(250, 1, 0.3)
    order = torch.randperm(250, generator=torch.Generator().manual_seed(2))
    for metric in (frechet_distance, kernel_distance, precision_recall):
        assert metric(real, fake[order]) == pytest.approx(metric(real, fake), rel=1e-9)


def test_precision_and_recall_do_not_depend_on_the_chunks(monkeypatch):
    from fewstep.bench.metrics import manifold

    real, fake = blobs(300, 0), blobs(250, 1, 0.3)
    whole = precision_recall(real, fake)
    monkeypatch.setattr(manifold, "CHUNK", 7)
    assert precision_recall(real, fake) == whole


def test_frechet_distance_of_shifted_gaussians_is_the_shift():
    x = blobs(2000, 0)
    assert frechet_distance(x, x + 0.5) == pytest.approx(8 * 0.25, rel=1e-6)


@pytest.mark.parametrize("wrong", [torch.zeros(5), torch.zeros(1, 3), torch.full((4, 3), float("nan"))])
def test_wrong_features_are_refused(wrong):
    with pytest.raises(ValueError, match="features"):
        frechet_distance(wrong, torch.zeros(4, 3))


def test_too_few_rows_for_the_neighbours_are_refused():
    with pytest.raises(ValueError, match="more than 3 rows"):
        precision_recall(blobs(3, 0), blobs(10, 1))


def test_rmse_is_per_pixel_and_averaged_over_samples():
    exact = torch.zeros(2, 1, 2, 2)
    x = torch.stack([torch.full((1, 2, 2), 3.0), torch.full((1, 2, 2), 1.0)])
    assert rmse(x, exact) == pytest.approx(2.0)


def test_a_classifiers_split_is_disjoint_and_whole():
    data = datasets.get("digits")
    training, held_out = RECIPES["digits"].split(data)
    assert len(held_out) == 360
    assert torch.equal(torch.cat([training, held_out]).sort().values, torch.arange(len(data)))
