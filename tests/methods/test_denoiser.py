"""Denoisers: preconditioning, change of path, guidance, and the meter."""

import pytest
import torch
from torch import nn

from fewstep.methods.denoiser import ChangeOfPath, EDMDenoiser, Guided, NetworkDenoiser, from_function, metered
from fewstep.methods.paths import EDM, FlowCosine, FlowOT, VPCosine, VPLinear
from fewstep.tests.methods.toy_networks import PredictsEps

PATHS = [VPLinear(), VPCosine(), EDM(), FlowOT(), FlowCosine()]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("own", PATHS, ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("other", PATHS, ids=lambda path: type(path).__name__)
def test_change_of_path_is_exact(own, other, toy_mixture):
    t = 0.05 + 0.9 * torch.rand(8, generator=rng(), dtype=torch.float64) * min(other.t_max, 3.0)
    x = torch.randn(8, 3, 4, 4, generator=rng(1), dtype=torch.float64)
    direct = toy_mixture(other)(x, t)
    changed = ChangeOfPath(toy_mixture(own), other)(x, t)
    torch.testing.assert_close(changed, direct, rtol=1e-9, atol=1e-9)


def test_a_flow_start_asks_an_edm_network_at_its_largest_noise():
    asked = []

    def network(x, t):
        asked.append((x.clone(), t.clone()))
        return torch.zeros_like(x)

    eps = torch.randn(4, 2, generator=rng(), dtype=torch.float64)
    from_function(network, EDM(0.01, 40.0)).on(FlowOT())(eps, 1.0)
    x, t = asked[0]
    torch.testing.assert_close(x, 40 * eps)
    assert float(t) == 40.0


@pytest.mark.parametrize("prediction", ["x0", "eps", "score", "v", "velocity"])
def test_network_predictions_become_the_denoiser(prediction, toy_mixture):
    path = VPCosine()
    exact = toy_mixture(path)

    class Network(nn.Module):
        def forward(self, x, t, condition):
            x0 = exact(x, t)
            return x0 if prediction == "x0" else getattr(path, prediction)(x, x0, t)

    t = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
    x = torch.randn(8, 3, 4, 4, generator=rng(), dtype=torch.float64)
    torch.testing.assert_close(NetworkDenoiser(Network(), path, prediction)(x, t), exact(x, t), rtol=1e-9, atol=1e-9)


def test_reference_edm_scalings(reference):
    arrays = reference("distill/cm_scalings")
    denoiser = EDMDenoiser(nn.Identity(), 0.5, EDM())
    for name, value in zip(("skip", "out", "in"), denoiser.scalings(arrays["sigma"]), strict=True):
        torch.testing.assert_close(value, arrays[f"edm_c_{name}"], rtol=1e-10, atol=0)


def test_guidance_extrapolates_from_the_null_condition():
    denoiser = from_function(lambda x, t: x, EDM())
    denoiser.denoise = lambda x, t, condition: x + (0.0 if condition is None else condition)
    x = torch.zeros(2, 1)
    torch.testing.assert_close(Guided(denoiser, 3.0)(x, 1.0, 2.0), torch.full((2, 1), 6.0))


def test_a_guided_evaluation_is_one_evaluation_and_two_forwards():
    denoiser = from_function(lambda x, t: 0 * x, EDM())
    with metered() as plain:
        denoiser(torch.zeros(5, 2), 1.0)
    with metered() as guided:
        Guided(denoiser.on(VPLinear()), 2.0)(torch.zeros(5, 2), 0.5)
    assert (plain.evaluations, plain.forwards) == (5, 5)
    assert (guided.evaluations, guided.forwards) == (5, 10)


def test_meters_count_only_inside_their_block():
    denoiser = from_function(lambda x, t: 0 * x, EDM())
    with metered() as outer:
        denoiser(torch.zeros(1, 2), 1.0)
        with metered() as inner:
            denoiser(torch.zeros(2, 2), 1.0)
    denoiser(torch.zeros(7, 2), 1.0)
    assert (outer.evaluations, inner.evaluations) == (3, 2)


def test_a_time_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected \(\) or \(3,\)"):
        from_function(lambda x, t: x, EDM())(torch.zeros(3, 2), torch.ones(4))


def test_the_result_has_the_states_dtype_whatever_the_network_computes_in():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x, c_noise, condition):
            assert x.dtype == c_noise.dtype == torch.float32
            return self.scale * x

    x = torch.randn(2, 3, generator=rng(), dtype=torch.float64)
    assert EDMDenoiser(Network(), 0.5, EDM())(x, 1.0).dtype == torch.float64


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: d.given(torch.zeros(8)), lambda d: Guided(d, 1.5)])
@pytest.mark.parametrize("path", [VPLinear(), FlowOT()])
def test_eps_is_the_networks_own_or_that_of_x0_and_one_evaluation(path, wrap, toy_mixture):
    exact = toy_mixture(path)
    x = torch.randn(8, 3, 4, 4, generator=rng(), dtype=torch.float64)
    expected = path.eps(x, exact(x, 0.4), 0.4)
    for denoiser in (wrap(exact), wrap(NetworkDenoiser(PredictsEps(exact), path, "eps"))):
        with metered() as meter:
            torch.testing.assert_close(denoiser.eps(x, 0.4), expected, rtol=1e-9, atol=1e-9)
        assert meter.evaluations == 8
        assert meter.forwards == (16 if isinstance(denoiser, Guided) else 8)


class Shifted(EDMDenoiser):
    """With a D of its own."""

    def denoise(self, x, t, condition):
        return 0.9 * super().denoise(x, t, condition) + 0.1


class OtherScalings(EDMDenoiser):
    def scalings(self, sigma):
        c_skip, c_out, c_in = super().scalings(sigma)
        return 0.7 * c_skip, 0.8 * c_out, c_in


@pytest.mark.parametrize("t", [0.002, 3.0, torch.tensor([0.002, 0.5, 3.0, 80.0], dtype=torch.float64)])
@pytest.mark.parametrize("kind", [EDMDenoiser, Shifted, OtherScalings])
def test_the_eps_of_a_preconditioned_network_is_that_of_its_x0(kind, t):
    denoiser = kind(nn.Tanh(), 0.5, EDM())
    denoiser.network.forward = lambda x, c_noise, condition: torch.tanh(x + c_noise[:, None])
    x = torch.randn(4, 3, generator=rng(), dtype=torch.float64) * torch.as_tensor(t).reshape(-1, 1)
    expected = denoiser.path.eps(x, denoiser(x, t), t)
    assert denoiser.says_eps == (kind is not Shifted)
    assert not denoiser.predicts_eps
    for asked in (denoiser, denoiser.given(torch.zeros(4, dtype=torch.int64))):
        assert asked.says_eps == denoiser.says_eps
        torch.testing.assert_close(asked.eps(x, t), expected, rtol=1e-9, atol=1e-9)


class Listening(nn.Module):
    """A network in half precision that keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float16))

    def forward(self, x, time, condition=None):
        self.given, self.time = x.dtype, time
        return self.weight * x


@pytest.mark.parametrize("kind", ["trained on labels", "edm"])
def test_a_network_in_half_precision_is_told_its_time_in_float32(kind):
    network, t = Listening(), torch.tensor(0.123456789, dtype=torch.float64)
    if kind == "edm":
        denoiser, told = EDMDenoiser(network, 0.5, EDM(0.002, 80.0)), t.log() / 4
    else:
        denoiser, told = NetworkDenoiser(network, VPLinear(), "eps", lambda t: 8191 * t), 8191 * t
    assert denoiser(torch.randn(2, 1, 4, 4), t).dtype == torch.float32
    assert network.given == torch.float16
    torch.testing.assert_close(network.time, told.float().expand(2), rtol=1e-7, atol=0)
