"""The Gaussian paths and the conversions between what networks predict."""

import math

import pytest
import torch

from fewstep.methods.paths import EDM, FlowCosine, FlowOT, VPCosine, VPDiscrete, VPLinear

PATHS = {
    "vp_linear": VPLinear(),
    "vp_cosine": VPCosine(),
    "edm": EDM(),
    "flow": FlowOT(),
    "flow_cosine": FlowCosine(),
    "vp_discrete": VPDiscrete(),
}
PREDICTIONS = ["eps", "score", "v", "velocity"]


def inner_times(path, count=9):
    low, high = max(path.t_min, 1e-3), path.t_max
    return low + (high - low) * torch.linspace(0.02, 0.95, count, dtype=torch.float64)


def test_reference_coefficients_of_every_path(reference):
    arrays = reference("distill/paths")
    found = [name for name in PATHS if f"{name}_t" in arrays]
    assert found
    for name in found:
        path, t = PATHS[name], arrays[f"{name}_t"]
        expected = {
            "alpha": path.alpha(t),
            "sigma": path.sigma(t),
            "dalpha": path.dalpha(t),
            "dsigma": path.dsigma(t),
            "lam": -path.half_log_snr(t),
            "dlam": -path.dhalf_log_snr(t),
            "sigma_edm": path.noise_level(t),
        }
        for quantity, value in expected.items():
            torch.testing.assert_close(value, arrays[f"{name}_{quantity}"], rtol=1e-10, atol=1e-10)


def test_reference_conversions_of_every_path(reference, toy_mixture):
    arrays = reference("distill/paths")
    for name, path in PATHS.items():
        if f"{name}_cv_t" not in arrays:
            continue
        t, x, x0 = (arrays[f"{name}_cv_{part}"] for part in ("t", "x", "x0"))
        torch.testing.assert_close(toy_mixture(path)(x, t), x0, rtol=1e-10, atol=1e-10)
        for key, value in {
            "eps": path.eps(x, x0, t),
            "score": path.score(x, x0, t),
            "vpred": path.v(x, x0, t),
            "velocity": path.velocity(x, x0, t),
        }.items():
            expected = arrays[f"{name}_cv_{key}"]
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_every_prediction_converts_back_to_x0(path, prediction):
    t = inner_times(path)
    x, x0 = torch.randn(2, len(t), 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    output = getattr(path, prediction)(x, x0, t)
    back = getattr(path, f"x0_from_{prediction}")(x, output, t)
    torch.testing.assert_close(back, x0, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_derivatives_are_those_of_alpha_and_sigma(path):
    t = inner_times(path).requires_grad_()
    for function, derivative in ((path.alpha, path.dalpha), (path.sigma, path.dsigma)):
        (slope,) = torch.autograd.grad(function(t).sum() + 0 * t.sum(), t)
        torch.testing.assert_close(derivative(t).detach(), slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_time_at_inverts_the_noise_level(path):
    t = inner_times(path)
    torch.testing.assert_close(path.time_at(path.noise_level(t)), t, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_noise_level_zero_is_the_time_of_clean_data(path):
    clean = path.time_at(0.0)
    assert float(path.sigma(clean)) == 0
    assert float(path.alpha(clean)) == 1


@pytest.mark.parametrize("path", [FlowOT(), FlowCosine()], ids=["flow", "flow_cosine"])
def test_flows_have_no_signal_at_their_start(path):
    assert float(path.alpha(1.0)) == 0
    assert float(path.time_at(math.inf)) == 1


@pytest.mark.parametrize("path", [VPLinear(), VPCosine(), FlowCosine()], ids=["linear", "cosine", "flow_cosine"])
def test_variance_is_preserved_where_the_name_says_so(path):
    t = inner_times(path)
    torch.testing.assert_close(path.alpha(t) ** 2 + path.sigma(t) ** 2, torch.ones_like(t), rtol=1e-12, atol=0)


def test_a_float_time_and_a_batch_of_times_agree():
    path = VPLinear()
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(path.noisy(x, x, 0.3), path.noisy(x, x, torch.full((3,), 0.3, dtype=torch.float64)))


def test_labels_of_the_discrete_path_are_ddpms():
    path = VPDiscrete()
    labels = torch.arange(-1, 1000, dtype=torch.float64)
    t = path.time_of_label(labels)
    kept = torch.cumprod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64), 0)
    torch.testing.assert_close(path.alpha(t) ** 2, torch.cat([torch.ones(1).double(), kept]), rtol=1e-10, atol=0)
    torch.testing.assert_close(path.label(t), labels)
    assert path.sigma(path.time_at(0.0)) == 0


def test_a_vp_path_between_noise_levels_has_them_at_its_ends():
    path = VPLinear.between(0.002, 80.0)
    assert float(path.noise_level(path.t_min)) == pytest.approx(0.002)
    assert float(path.noise_level(path.t_max)) == pytest.approx(80.0)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_x0_of_a_step_is_what_the_step_was_made_with(path):
    """For single times and for a time of each sample's own; a step to clean data lands on x0 itself."""
    draw = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    x, x0 = draw
    t = torch.linspace(0.4, 0.8, 5, dtype=torch.float64) * path.t_max
    for start, end in ((t, 0.3 * t), (float(t[0]), float(t[0]) / 4), (t, path.time_at(0.0))):
        x_s = path.ddim_step(x, x0, start, end)
        torch.testing.assert_close(path.x0_of_step(x, x_s, start, end), x0, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(path.x0_of_step(x, x0, t, path.time_at(0.0)), x0, rtol=1e-10, atol=1e-10)


def test_the_fitted_path_has_edms_levels_at_its_ends_and_clean_data_at_0():
    """Between EDM's own levels beta is below 0 next to the data."""
    for low, high in ((0.002, 80.0), (0.01, 40.0)):
        path = VPLinear.between(low, high)
        torch.testing.assert_close(
            path.noise_level(torch.tensor([1e-3, 1.0], dtype=torch.float64)),
            torch.tensor([low, high], dtype=torch.float64),
        )
        assert [float(part(0.0)) for part in (path.time_at, path.sigma, path.alpha)] == [0, 0, 1]
        levels = torch.logspace(math.log10(low), math.log10(high), 50, dtype=torch.float64)
        torch.testing.assert_close(path.noise_level(path.time_at(levels)), levels)
