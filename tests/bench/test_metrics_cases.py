"""What metrics must say of plain cases: identical, collapsed, shifted, degenerate and wrong sets."""

import numpy as np
import pytest
import torch

from fewstep.bench.metrics import (
    class_coverage,
    cmmd,
    covariance,
    frechet_distance,
    frechet_from_moments,
    frechet_without,
    inception_score,
    kernel,
    kernel_distance,
    kernel_distance_subsets,
    linear_cka,
    manifold,
    manifold_scores,
    precision_recall,
    psnr,
    psnr_per_image,
    rmse,
)
from fewstep.methods.randomness import generator
from fewstep.reports.jackknife import bounds


def blobs(n, seed, shift=0.0):
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed)) + shift


def test_identical_sets_have_distance_zero_and_full_coverage():
    x = blobs(300, 0)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-8)
    assert precision_recall(x, x) == (1.0, 1.0)
    assert manifold_scores(x, x).coverage == 1
    assert cmmd(x, x) == pytest.approx(0, abs=1e-9)


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
    for metric in (frechet_distance, kernel_distance, cmmd, manifold_scores):
        assert metric(real, fake[order]) == pytest.approx(metric(real, fake), rel=1e-9)


@pytest.mark.parametrize("elements", [1, 7 * 250, 111 * 300])
def test_manifolds_and_kernels_do_not_depend_on_the_chunks(monkeypatch, elements):
    real, fake = blobs(300, 0), blobs(250, 1, 0.3)
    whole, kernels = manifold_scores(real, fake), (kernel_distance(real, fake), cmmd(real, fake))
    monkeypatch.setattr(manifold, "ELEMENTS", elements)
    monkeypatch.setattr(kernel, "ELEMENTS", elements)
    assert manifold_scores(real, fake) == whole
    assert (kernel_distance(real, fake), cmmd(real, fake)) == pytest.approx(kernels, rel=1e-11)


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


def test_a_row_has_itself_alone_left_out_of_its_neighbours():
    """Each real row twice: the nearest neighbour is at distance 0, and the ball of k = 1 is a point."""
    x = torch.randint(-9, 10, (60, 4), generator=torch.Generator().manual_seed(0)).double().unique(dim=0)
    twice = torch.cat([x, x])
    assert precision_recall(twice, x + 0.25, k=1)[0] == 0
    assert precision_recall(twice, x, k=1)[0] == 1
    assert manifold_scores(twice, x, k=1).density == 2
    assert precision_recall(twice, x + 0.25, k=2)[0] > 0.5


def test_manifolds_far_from_the_origin_keep_their_counts_in_single_precision():
    real, fake = blobs(300, 0), blobs(250, 1, 0.3)
    counts = np.array([250, 300, 3 * 250, 300])
    moved = counts * np.array(manifold_scores(real + 4096, fake + 4096))
    exact = counts * np.array(manifold_scores((real + 4096).double(), (fake + 4096).double()))
    assert abs(moved - exact).max() < 2.5


def test_half_precision_is_computed_in_single():
    real, fake = blobs(300, 0).half(), blobs(250, 1, 0.3).half()
    assert manifold_scores(real, fake) == manifold_scores(real.float(), fake.float())
    assert frechet_distance(real, fake) == frechet_distance(real.double(), fake.double())


def test_distances_are_never_of_reduced_precision(monkeypatch):
    seen, product = [], torch.addmm
    monkeypatch.setattr(
        torch, "addmm", lambda *a, **b: (seen.append(torch.get_float32_matmul_precision()), product(*a, **b))[1]
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        precision_recall(blobs(30, 0), blobs(30, 1))
        after = torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(seen) == {"highest"}
    assert after == "high"


def by_singular_values(real, fake):
    """The distance from triangular factors of the features, without a covariance."""
    x, y = ((part - part.mean(0)) / (len(part) - 1) ** 0.5 for part in (real, fake))
    root = torch.linalg.svdvals(torch.linalg.qr(x).R @ torch.linalg.qr(y).R.T).sum()
    means = (real.mean(0) - fake.mean(0)).square().sum()
    return float(means + x.square().sum() + y.square().sum() - 2 * root)


def correlated(count, dimensions, seed):
    """Features after ReLU of a third as many factors, some of which are never on."""
    g = torch.Generator().manual_seed(7)
    weights = torch.randn(dimensions // 3, dimensions, generator=g, dtype=torch.float64)
    h = torch.Generator().manual_seed(seed)
    factors = torch.randn(count, dimensions // 3, generator=h, dtype=torch.float64)
    x = (factors @ weights + torch.randn(count, dimensions, generator=h, dtype=torch.float64)).relu()
    x[:, ::10] = 0
    return x


@pytest.mark.parametrize(("of_real", "of_fake"), [(600, 500), (600, 40), (40, 600), (60, 40), (61, 61)])
def test_dead_dimensions_and_few_samples_cost_no_digits(of_real, of_fake):
    real, fake = correlated(of_real, 60, 1), correlated(of_fake, 60, 2)
    assert frechet_distance(real, fake) == pytest.approx(by_singular_values(real, fake), rel=1e-11)
    blocks = bounds(of_fake, 7)
    exact = [by_singular_values(real, torch.cat([fake[:a], fake[b:]])) for a, b in blocks]
    assert frechet_without(real, fake, blocks) == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize(("of_real", "of_fake"), [(600, 500), (600, 40), (40, 600), (60, 40)])
def test_the_distance_from_moments_is_that_from_features(of_real, of_fake):
    real, fake = correlated(of_real, 60, 1), correlated(of_fake, 60, 2)
    moments = real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov()
    assert frechet_from_moments(*moments) == pytest.approx(by_singular_values(real, fake), rel=1e-9)


def test_products_in_panels_are_the_whole_product(monkeypatch):
    real, fake = blobs(300, 0), blobs(250, 1, 0.3)
    whole = frechet_distance(real, fake)
    monkeypatch.setattr(covariance, "PANEL", 3)
    monkeypatch.setattr(covariance, "ROWS", 64)
    assert frechet_distance(real, fake) == pytest.approx(whole, rel=1e-12)


def test_the_distance_to_a_single_point_is_the_mean_square_distance_to_it():
    real = blobs(300, 0).double()
    point = torch.zeros(50, 8).double()
    exact = (real.mean(0).square() + real.var(0)).sum().item()
    assert frechet_distance(real, point) == pytest.approx(exact, rel=1e-12)
    assert frechet_distance(point, real) == pytest.approx(exact, rel=1e-12)


def test_moments_that_are_not_finite_or_not_of_one_size_are_refused():
    zero, one = torch.zeros(3), torch.eye(3)
    for wrong in ((zero / 0, one), (zero, one / 0), (torch.zeros(2), one)):
        with pytest.raises(ValueError, match="moments"):
            frechet_from_moments(zero, one, *wrong)


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance, cmmd, manifold_scores])
def test_infinite_features_and_other_dimensions_are_refused(metric):
    real, fake = blobs(30, 0), blobs(30, 1)
    with pytest.raises(ValueError, match="8 dimensions, fake ones 7"):
        metric(real, fake[:, :7])
    fake[3, 4] = torch.inf
    with pytest.raises(ValueError, match="fake features hold values that are not finite"):
        metric(real, fake)


def test_subsets_larger_than_a_set_are_refused():
    with pytest.raises(ValueError, match="subsets of 1000"):
        kernel_distance_subsets(blobs(1000, 0), blobs(999, 1))


def test_the_kernel_distance_of_one_law_is_zero_on_average_and_below_zero_half_of_the_time():
    found = [kernel_distance(blobs(60, 2 * seed), blobs(60, 2 * seed + 1)) for seed in range(60)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 60**0.5
    assert 15 < np.sum(np.array(found) < 0) < 45


def test_inception_score_is_the_number_of_classes_that_are_drawn_surely():
    logits = 100 * torch.nn.functional.one_hot(torch.arange(200) % 4, 10)
    assert inception_score(logits, splits=5, seed=None) == pytest.approx((4, 0))
    assert inception_score(torch.zeros(50, 10), splits=5) == pytest.approx((1, 0))
    with pytest.raises(ValueError, match="11 splits"):
        inception_score(torch.zeros(10, 3), splits=11)


def test_cka_ignores_rotation_shift_and_scale_and_wants_features_that_vary():
    x = blobs(100, 0).double()
    rotation = torch.linalg.qr(blobs(8, 1).double()).Q
    assert linear_cka(x, 3 * x @ rotation + 5) == pytest.approx(1, rel=1e-12)
    assert linear_cka(x, blobs(100, 2)) < 0.2
    with pytest.raises(ValueError, match="do not vary"):
        linear_cka(x, torch.ones(100, 3))
    with pytest.raises(ValueError, match="100 inputs and of 99"):
        linear_cka(x, x[1:])


def test_cka_of_fewer_inputs_than_dimensions_is_the_same():
    """Turned into more dimensions, where the products of inputs are the smaller ones."""
    x, narrow = blobs(5, 0).double(), blobs(5, 1).double()[:, :4]
    wide = narrow @ torch.linalg.qr(blobs(8, 1).double()).Q[:4]
    assert linear_cka(x, wide) == pytest.approx(linear_cka(x, narrow), rel=1e-12)


def test_equal_images_have_infinite_psnr():
    x = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert psnr(x, x) == float("inf")
    assert psnr_per_image(x, x + torch.tensor([0.0, 0.2])[:, None, None, None]).tolist() == pytest.approx(
        [float("inf"), 20], rel=1e-5
    )
