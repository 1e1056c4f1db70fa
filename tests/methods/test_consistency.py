"""Consistency distillation against the authors' losses, gradients, scalings and sampler."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from fewstep.methods.denoiser import EDMDenoiser, metered
from fewstep.methods.distillation.consistency import (
    Consistency,
    ConsistencyFunction,
    boundary_scalings,
    consistency_loss,
    loss_weight,
    multistep,
)
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.options import ConsistencyOptions
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import noise
from fewstep.methods.solvers.grids import karras

EXACT = {"rtol": 1e-6, "atol": 1e-9}
WEIGHTS = {"uniform": "uniform", "truncated_snr": "truncated-snr", "karras": "karras"}


class ToyNetwork(nn.Module):
    """N(u, tau; p) = p0 u + p1 tanh(2u) + p2 sin(tau + u) + p3 cos(tau), with tau = 1000 c_noise."""

    def __init__(self, p: Tensor) -> None:
        super().__init__()
        self.p = nn.Parameter(p.clone())

    def forward(self, u, c_noise, condition):
        tau = 1000 * c_noise.reshape(-1, 1, 1, 1)
        p = self.p
        return p[0] * u + p[1] * torch.tanh(2 * u) + p[2] * torch.sin(tau + u) + p[3] * torch.cos(tau)


def toy_function(p):
    return ConsistencyFunction(ToyNetwork(p), 0.5, EDM())


def test_reference_scalings_and_weights(reference):
    arrays = reference("distill/cm_scalings")
    for name, value in zip(("skip", "out", "in"), boundary_scalings(arrays["sigma"], 0.5, 0.002), strict=True):
        torch.testing.assert_close(value, arrays[f"cm_c_{name}"], **EXACT)
    for name, key in {"uniform": "uniform", "snr": "snr", "snr+1": "snrp1", "karras": "karras"}.items():
        torch.testing.assert_close(loss_weight(name, arrays["sigma"], 0.5), arrays[f"weight_{key}"], **EXACT)
    truncated = loss_weight("truncated-snr", arrays["sigma"], 0.5)
    torch.testing.assert_close(truncated, arrays["weight_truncated-snr"], **EXACT)


def cd_cases(arrays):
    """(prefix, ode step, distance, weight, key) of every distillation loss in the reference."""
    for key in arrays.names:
        if key.startswith("cd_") and key.endswith("_loss"):
            prefix, _, rest = key.removesuffix("_loss").partition("_heun_" if "_heun_" in key else "_euler_")
            step = "heun" if "_heun_" in key else "euler"
            if rest == "pseudohuber":
                yield prefix, step, "pseudo-huber", "uniform", key
            else:
                distance, _, weight = rest.partition("_")
                yield prefix, step, distance, WEIGHTS[weight], key


def test_reference_losses_and_gradients(reference, toy, toy_mixture):
    arrays = reference("distill/cm_losses")
    cases = list(cd_cases(arrays))
    assert cases
    for prefix, step, distance, weight, key in cases:
        student, target = toy_function(toy["p_student"]), toy_function(toy["p_target"])
        t, s = arrays[f"{prefix}_t"], arrays[f"{prefix}_t_next"]
        distances = consistency_loss(student, target, toy_mixture(EDM()), toy["x0"], toy["noise"], t, s, step, distance)
        loss = loss_weight(weight, t, 0.5) * distances
        torch.testing.assert_close(loss, arrays[key], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), student.network.p)
        torch.testing.assert_close(gradient, arrays[key.replace("_loss", "_grad")], **EXACT)


def test_reference_boundary_condition(reference, toy):
    arrays = reference("distill/cm_losses")
    x = arrays["boundary_x"]
    f = toy_function(toy["p_student"])(x, 0.002)
    torch.testing.assert_close(f, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(f, arrays["boundary_f"], **EXACT)


def test_reference_multistep_sampling(reference, toy):
    arrays = reference("distill/cm_sampling")
    f = toy_function(toy["p_student"])
    cases = [key.removesuffix("_ts") for key in arrays.names if key.endswith("_ts") and f"{key}_ts" not in arrays]
    cases = [case for case in cases if f"{case}_sigmas" in arrays]
    assert cases
    for case in cases:
        levels = arrays[f"{case}_sigmas"][:-1]
        with torch.no_grad(), metered() as meter:
            x = multistep(f, arrays["xT"] / 80, levels, 0.002, lambda j: arrays["noises"][j])
        torch.testing.assert_close(x, arrays[f"{case}_out"], **EXACT)
        assert meter.evaluations == len(levels) * len(x)


def test_reference_exact_student_has_only_discretisation_error(reference, toy, toy_gaussian):
    """CM-4: at the exact consistency function of a Gaussian the residual is the teacher step's own error."""
    arrays = reference("distill/gaussian_exact")
    mean, variance = toy["gauss_mean"], toy["gauss_var"]

    def exact(x, t):
        t = t.reshape(-1, 1, 1, 1)
        return mean + ((variance + 4e-6) / (variance + t**2)).sqrt() * (x - mean)

    size = len(toy["x0"])
    residuals = [key for key in arrays.names if key.startswith("cd_residual_")]
    assert residuals
    for key in residuals:
        _, _, step, points = key.split("_")
        grid = karras(torch.linspace(0, 1, int(points[1:]), dtype=torch.float64), 80.0, 0.002)
        errors = [
            consistency_loss(
                exact, exact, toy_gaussian(EDM()), toy["x0"], toy["noise"], t.expand(size), s.expand(size), step
            ).mean()
            for t, s in pairwise(grid)
        ]
        torch.testing.assert_close(torch.stack(errors).mean(), arrays[key], rtol=1e-5, atol=1e-20)


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    network = ResidualMLP(2, width=16, blocks=1)
    nn.init.normal_(network.out.weight, std=0.3)
    return EDMDenoiser(network, 0.75, EDM(0.01, 40.0)).requires_grad_(False)


def batch(step=0, size=8):
    return {
        "step": step,
        "x0": torch.randn(size, 2, generator=torch.Generator().manual_seed(step)),
        "labels": None,
    }


def test_only_the_student_gets_gradients(teacher):
    method = Consistency(teacher, ConsistencyOptions(batch=8, target_ema=0.5))
    method.training_step(batch(), 0).backward()
    assert all(p.grad is not None and p.grad.abs().sum() >= 0 for p in method.student.parameters())
    assert any(p.grad.abs().sum() > 0 for p in method.student.parameters())
    others = [*teacher.parameters(), *method.average.parameters(), *method.target.parameters()]
    assert all(p.grad is None for p in others)


def test_no_gradient_flows_through_the_target_when_it_is_the_student_itself(teacher):
    """With target_ema 0 both sides share their weights: the right one is a constant all the same."""
    student = Consistency(teacher, ConsistencyOptions()).student
    x0, eps = torch.randn(2, 8, 2, generator=torch.Generator().manual_seed(0))
    t, s = torch.full((8,), 2.0), torch.full((8,), 1.0)

    def gradient(target):
        loss = consistency_loss(student, target, teacher, x0, eps, t, s).mean()
        return torch.autograd.grad(loss, list(student.parameters()))

    for own, expected in zip(gradient(student), gradient(copy.deepcopy(student)), strict=True):
        assert torch.equal(own, expected)


def test_a_step_is_a_function_of_seed_and_step(teacher):
    first, second, other = (Consistency(teacher, ConsistencyOptions(), seed=seed) for seed in (3, 3, 4))
    for step in (0, 5):
        assert torch.equal(first.training_step(batch(step), 0), second.training_step(batch(step), 99))
        assert not torch.equal(first.training_step(batch(step), 0), other.training_step(batch(step), 0))


def test_the_student_starts_as_the_teachers_network(teacher):
    method = Consistency(teacher, ConsistencyOptions())
    for own, given in zip(method.student.network.parameters(), teacher.network.parameters(), strict=True):
        assert torch.equal(own, given)
        assert own is not given


def test_the_target_follows_the_student_at_its_own_rate(teacher):
    method = Consistency(teacher, ConsistencyOptions(target_ema=0.9))
    method.update_averages()
    before = [p.clone() for p in method.target.module.parameters()]
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1.0)
    method.update_averages()
    for p, q in zip(method.target.module.parameters(), before, strict=True):
        torch.testing.assert_close(p, q + 0.1)


@pytest.mark.parametrize("nfe", [1, 2, 3, 8])
def test_sampling_takes_exactly_the_evaluations_asked_for(teacher, nfe):
    method = Consistency(teacher, ConsistencyOptions()).eval()
    with metered() as meter:
        x = method.sample(torch.randn(5, 2), nfe, draws=lambda j: noise(0, f"draw-{j}", range(5), (2,)))
    assert x.shape == (5, 2)
    assert meter.evaluations == 5 * nfe


def test_the_teacher_is_neither_saved_nor_trained(teacher):
    method = Consistency(teacher, ConsistencyOptions())
    assert not any("teacher" in name for name in method.state_dict())
    method.train()
    assert not method.teacher.training
