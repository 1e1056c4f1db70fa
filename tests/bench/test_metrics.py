"""Metrics against values that several packages agree on."""

import json

import numpy as np
import pytest
import torch

from fewstep.bench.metrics import (
    cmmd,
    frechet_distance,
    frechet_from_moments,
    inception_score,
    kernel_distance,
    kernel_distance_subsets,
    linear_cka,
    manifold_scores,
    psnr,
    psnr_per_image,
    rmse,
)

EXACT_FIRST = ("mpmath_40_digits", "numpy_svd_of_features_float64", "numpy_eigh_factor_float64")


@pytest.fixture(scope="module")
def expected(reference_folder):
    return json.loads((reference_folder / "metrics" / "expected_values.json").read_text())


@pytest.fixture(scope="module")
def sets(reference_folder, expected):
    """(name, real features, fake features, expected values) of every feature set in the reference."""
    found = []
    for name, values in expected.items():
        file = reference_folder / "metrics" / f"{name}.npz"
        if file.is_file():
            arrays = np.load(file, allow_pickle=False)
            if {"real", "fake"} <= set(arrays.files):
                found.append((name, arrays["real"].astype(np.float64), arrays["fake"].astype(np.float64), values))
    assert found
    return found


def check_frechet(real, fake, values):
    exact = next(values["frechet_distance"][key] for key in EXACT_FIRST if key in values["frechet_distance"])
    assert frechet_distance(real, fake) == pytest.approx(exact, rel=1e-9)


def check_kernels(real, fake, values):
    exact = values["kid_poly3"]["float64_full_U_statistic"]
    assert kernel_distance(real, fake) == pytest.approx(exact, rel=1e-10, abs=1e-12)
    subsets = values["kid_poly3"]["torch-fidelity subsets"]
    mean, std = kernel_distance_subsets(real, fake, subsets["subsets"], subsets["subset_size"])
    assert mean == pytest.approx(subsets["mean"], rel=1e-9, abs=1e-12)
    assert std == pytest.approx(subsets["std_ddof0"], rel=1e-9)
    exact = values["cmmd_l2normalised_rows_sigma10_x1000_biased"]["sklearn_rbf_kernel"]
    normalised = (torch.nn.functional.normalize(torch.as_tensor(x)) for x in (real, fake))
    assert cmmd(*normalised) == pytest.approx(exact, rel=1e-8, abs=1e-9)


def check_manifolds(real, fake, values, off=0):
    """`off`: by how many a count may differ."""
    for key in [key for key in values if key.startswith("prdc_k")]:
        k = int(key.removeprefix("prdc_k"))
        counts = np.array([len(fake), len(real), k * len(fake), len(real)])
        leq = values[key]["scipy_cdist_leq"]
        exact = np.rint(counts * [leq[name] for name in ("precision", "recall", "density", "coverage")])
        ours = np.rint(counts * np.array(manifold_scores(real, fake, k)))
        assert (abs(ours - exact) <= off).all(), f"{key}: {ours} are not {exact}"


def test_reference_frechet_distances(sets):
    for _, *case in sets:
        check_frechet(*case)


def test_reference_kernel_distances(sets):
    for _, *case in sets:
        check_kernels(*case)


def test_reference_manifolds_count_the_edge_of_the_ball(sets):
    """Exactly, on the set of small integers too, where half of the rows are on an edge."""
    for _, *case in sets:
        check_manifolds(*case)


def test_reference_manifolds_in_single_precision(sets):
    for _, real, fake, values in sets:
        check_manifolds(real.astype(np.float32), fake.astype(np.float32), values, off=2)


def test_reference_frechet_distance_of_gaussians_with_a_known_transport(reference_folder, expected):
    pair = np.load(reference_folder / "metrics" / "gaussian_pair8.npz", allow_pickle=False)
    values = next(v for key, v in expected["frechet_closed_forms"].items() if key.startswith("gaussian_pair8"))
    found = frechet_from_moments(*(pair[key] for key in ("mu1", "sigma1", "mu2", "sigma2")))
    assert found == pytest.approx(values["exact_transport_map_identity"], rel=1e-12)


def test_reference_frechet_distances_of_shifted_and_of_scaled_gaussians(expected):
    values = {key.partition(":")[0]: value for key, value in expected["frechet_closed_forms"].items()}
    zero, one = torch.zeros(8), torch.eye(8)
    shifted = frechet_from_moments(zero, one, zero + 0.5, one)
    scaled = frechet_from_moments(zero, one, zero, 1.5**2 * one)
    assert shifted == pytest.approx(values["mean shift only"]["exact"], rel=1e-12)
    assert scaled == pytest.approx(values["isotropic scale"]["exact"], rel=1e-12)


def test_reference_inception_scores(reference_folder, expected):
    logits = np.load(reference_folder / "metrics" / "logits10.npz", allow_pickle=False)["logits"]
    values = expected["inception_score_logits10"]
    for splits in (1, 10):
        exact = [values[f"splits{splits}_unshuffled"][f"numpy_float64_{name}"] for name in ("mean", "std_ddof0")]
        assert inception_score(logits, splits, seed=None) == pytest.approx(exact, rel=1e-9)
    exact = values["splits10_shuffled_RandomState(2020)"]
    exact = exact["inception_score_mean"], exact["inception_score_std"]
    assert inception_score(logits) == pytest.approx(exact, rel=1e-9)


def test_reference_linear_cka(reference_folder, expected):
    x = np.load(reference_folder / "metrics" / "softplus64.npz", allow_pickle=False)["real"][:300]
    y = np.load(reference_folder / "metrics" / "cka_pair.npz", allow_pickle=False)["Y"]
    exact = next(value for key, value in expected.items() if key.startswith("linear_cka"))
    assert linear_cka(x, y) == pytest.approx(exact["feature_space_form"], rel=1e-12)


def test_reference_psnr(expected):
    exact = next(value for key, value in expected.items() if key.startswith("psnr_rmse"))
    clean = np.random.default_rng(1).random((5, 3, 8, 8))
    noisy = np.clip(clean + 0.1 * np.random.default_rng(2).standard_normal(clean.shape), 0, 1)
    x, truth = torch.from_numpy(noisy), torch.from_numpy(clean)
    assert psnr_per_image(x, truth, 1).tolist() == pytest.approx(exact["psnr_per_image_range1"], rel=1e-12)
    assert psnr(x, truth, 1) == pytest.approx(-20 * np.log10(exact["rmse_global"]), rel=1e-12)
    assert psnr(x, truth, 1) == pytest.approx(exact["torchmetrics psnr(data_range=1) global mse"], rel=1e-6)
    assert psnr(2 * x - 1, 2 * truth - 1) == pytest.approx(psnr(x, truth, 1), rel=1e-12)
    assert rmse(x, truth) == pytest.approx(exact["rmse_mean_of_per_image"], rel=1e-12)


def build_2048(count, seed, scale, shift):
    """The reference's recipe of features like pooled ones: softplus of 64 factors, rounded."""
    g = np.random.Generator(np.random.PCG64(7))
    weights = g.standard_normal((64, 2048)) * (np.arange(1, 65) ** -0.6)[:, None] * 0.6
    bias = -1.0 + 0.5 * g.standard_normal(2048)
    h = np.random.Generator(np.random.PCG64(seed))
    z, noise = h.standard_normal((count, 64)), h.standard_normal((count, 2048))
    return np.rint(256 * np.log1p(np.exp(z @ weights * scale + bias + shift + 0.15 * noise))) / 256


@pytest.mark.slow
def test_reference_of_2048_dimensions(expected):
    real, fake = build_2048(3000, 11, 1.0, 0.0), build_2048(2500, 12, 0.95, 0.03)
    checks = expected["seed2048"]["recipe_checks"]
    assert [real.sum(), fake.sum()] == pytest.approx([checks["real_sum"], checks["fake_sum"]], rel=1e-4)
    for name, rows in (("seed2048", slice(None)), ("seed2048_first1000_each", slice(1000))):
        case = real[rows], fake[rows], expected[name]
        check_frechet(*case)
        check_kernels(*case)
        check_manifolds(*case)
