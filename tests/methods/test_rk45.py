"""The adaptive solver behind the truth."""

import pytest
import torch

from fewstep.methods import solvers
from fewstep.methods.denoiser import from_function, metered
from fewstep.methods.errors import IntegrationError
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowCosine, FlowOT, VPLinear
from fewstep.methods.solvers.rk45 import dormand_prince
from fewstep.methods.specs.rk45 import AdaptiveOptions

PATHS = {"ot": FlowOT(), "cosine": FlowCosine(), "vp": VPLinear(t_min=1e-3)}


def solve(denoiser, noise, tolerance=1e-8, **kwargs):
    return solvers.get("rk45", tolerance=tolerance).sample(denoiser, noise, **kwargs)


def test_reference_ground_truth_on_edm(reference, problem, laws):
    arrays = reference("solvers/ground_truth")
    found = [key for key in arrays.meta if key.startswith("edm/")]
    assert found
    for key in found:
        x = solve(laws(key.split("/")[1], EDM()), problem["x_T"], 1e-9, times=torch.tensor([80.0, 0.002]).double())
        torch.testing.assert_close(x, arrays[f"{key}/x_sigma_min"], rtol=0, atol=1e-6)


def test_reference_ground_truth_on_vp(reference, problem, laws):
    arrays = reference("solvers/ground_truth")
    path = VPLinear()
    for key in [key for key in arrays.meta if key in ("vp/gmm", "vp/gauss")]:
        ends = torch.tensor([1.0, 1e-3]).double()
        x = solve(laws(key.split("/")[1], path), problem["x_T"] / path.sigma(1.0), 1e-9, times=ends)
        torch.testing.assert_close(x, arrays[f"{key}/x_eps"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", [EDM(0.01, 40.0), VPLinear(), FlowOT(), FlowCosine()], ids=lambda p: type(p).__name__)
def test_a_gaussian_flows_to_its_closed_form(path, toy, toy_gaussian):
    noise = toy["noise"]
    end = path.time_at(0.02).double()
    x = solve(toy_gaussian(path), noise, times=torch.stack([torch.tensor(path.t_max).double(), end]))
    a0, s0, a1, s1 = path.alpha(path.t_max), path.sigma(path.t_max), path.alpha(end), path.sigma(end)
    mean, variance = toy["gauss_mean"], toy["gauss_var"]
    scale = ((a1**2 * variance + s1**2) / (a0**2 * variance + s0**2)).sqrt()
    torch.testing.assert_close(x, a1 * mean + scale * (s0 * noise - a0 * mean), rtol=0, atol=1e-6)


def test_a_sample_does_not_depend_on_its_batch(toy, toy_mixture):
    denoiser = toy_mixture(EDM(0.01, 40.0))
    together = solve(denoiser, toy["noise"], 1e-5)
    alone = torch.cat([solve(denoiser, row[None], 1e-5) for row in toy["noise"]])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_a_smaller_tolerance_costs_more_and_errs_less(toy, toy_mixture):
    denoiser = toy_mixture(EDM(0.01, 40.0))
    exact = solve(denoiser, toy["noise"], 1e-10)
    errors, costs = [], []
    for tolerance in (1e-3, 1e-5, 1e-7):
        with metered() as meter:
            errors.append(float((solve(denoiser, toy["noise"], tolerance) - exact).abs().max()))
        costs.append(meter.evaluations)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5
    assert costs == sorted(costs)


def test_the_default_tolerance_is_the_options_one():
    assert solvers.get("rk45").tolerance == AdaptiveOptions().tolerance


def test_an_nfe_is_refused():
    with pytest.raises(UnreachableNFE, match="adaptive"):
        solve(from_function(lambda x, t: x, EDM()), torch.zeros(1, 2), nfe=8)


STALLED = r"could not be integrated at noise level {} \(sigma/alpha\): {}"


@pytest.mark.parametrize(
    ("rate", "reason"),
    [(float("inf"), "the denoiser's values blow up"), (-1e12, "the denoiser changes too fast for any step size")],
)
def test_a_denoiser_that_cannot_be_integrated_is_an_error_and_not_a_hang(rate, reason):
    with pytest.raises(IntegrationError, match=STALLED.format("40", reason)):
        solve(from_function(lambda x, t: rate * x, EDM(0.01, 40.0)), torch.ones(1, 2))


def test_a_stiff_denoiser_is_an_error_after_so_many_steps():
    """dy/ds = 1000 y on the way down: stable steps are of about 0.003, and 100 of them lead from e^4 to about e^3.7."""
    rows, seen = torch.ones(2, 3, dtype=torch.float64), []

    def slope(y, s, at):
        seen.append(len(y))
        return 1000 * y

    message = STALLED.format(r"(5\d|4\d|3\d)(\.\d)?", "100 steps do not suffice")
    with pytest.raises(IntegrationError, match=message):
        dormand_prince(slope, rows, 4.0, -4.0, 1e-3, max_steps=100)
    assert len(seen) == 1 + 6 * 100
