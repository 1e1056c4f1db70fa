"""Consistency distillation against the authors' losses, gradients, scalings and sampler."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from fewstep.methods import solvers
from fewstep.methods.denoiser import EDMDenoiser, metered
from fewstep.methods.distillation.consistency import (
    Consistency,
    ConsistencyFunction,
    boundary_scalings,
    consistency_loss,
)
from fewstep.methods.distillation.consistency_sampling import (
    at_positions,
    consistency_sampling,
    spread_levels,
)
from fewstep.methods.distillation.distances import DISTANCES, snr_weight
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import noise
from fewstep.methods.solvers.grids import karras
from fewstep.methods.specs.consistency import ConsistencyOptions
from fewstep.tests.methods.toy_networks import ToyNetwork

EXACT = {"rtol": 1e-6, "atol": 1e-9}
WEIGHTS = {"uniform": "uniform", "truncated_snr": "truncated-snr", "karras": "karras"}


class Answer(nn.Module):
    """A network that says the same whatever it is asked."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, u, c_noise, condition):
        return self.answer


def toy_function(p):
    return ConsistencyFunction(ToyNetwork(p), 0.5, EDM())


def test_reference_scalings_and_weights(reference):
    """CM-2: and the grids."""
    arrays = reference("distill/cm_scalings")
    for name, value in zip(("skip", "out", "in"), boundary_scalings(arrays["sigma"], 0.5, 0.002), strict=True):
        torch.testing.assert_close(value, arrays[f"cm_c_{name}"], **EXACT)
    for name, key in {"uniform": "uniform", "snr": "snr", "snr+1": "snrp1", "karras": "karras"}.items():
        torch.testing.assert_close(snr_weight(name, arrays["sigma"], 0.5), arrays[f"weight_{key}"], **EXACT)
    truncated = snr_weight("truncated-snr", arrays["sigma"], 0.5)
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
    """CM-3: gradients show where gradients stop."""
    arrays = reference("distill/cm_losses")
    cases = list(cd_cases(arrays))
    assert cases
    for prefix, step, distance, weight, key in cases:
        student, target = toy_function(toy["p_student"]), toy_function(toy["p_target"])
        t, s = arrays[f"{prefix}_t"], arrays[f"{prefix}_t_next"]
        distances = consistency_loss(
            student, target, toy_mixture(EDM()), toy["x0"], toy["noise"], t, s, step, DISTANCES[distance]
        )
        loss = snr_weight(weight, t, 0.5) * distances
        torch.testing.assert_close(loss, arrays[key], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), student.network.p)
        torch.testing.assert_close(gradient, arrays[key.replace("_loss", "_grad")], **EXACT)


def test_reference_boundary_condition(reference, toy):
    """CM-1: f(x, sigma_min) = x for any weights."""
    arrays = reference("distill/cm_losses")
    x = arrays["boundary_x"]
    f = toy_function(toy["p_student"])(x, 0.002)
    torch.testing.assert_close(f, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(f, arrays["boundary_f"], **EXACT)


def test_reference_multistep_sampling(reference, toy):
    """CM-6."""
    arrays = reference("distill/cm_sampling")
    f = toy_function(toy["p_student"])
    cases = [key.removesuffix("_ts") for key in arrays.names if key.endswith("_ts") and f"{key}_ts" not in arrays]
    cases = [case for case in cases if f"{case}_sigmas" in arrays]
    assert cases
    for case in cases:
        levels = arrays[f"{case}_sigmas"][:-1]
        with torch.no_grad(), metered() as meter:
            x = consistency_sampling(f, arrays["xT"] / 80, levels, 0.002, lambda j: arrays["noises"][j])
            clamped = consistency_sampling(
                lambda x, t: f(x, t).clamp(-1, 1), arrays["xT"] / 80, levels, 0.002, lambda j: arrays["noises"][j]
            )
        torch.testing.assert_close(x, arrays[f"{case}_out"], **EXACT)
        torch.testing.assert_close(clamped, arrays[f"{case}_out_clamped"], **EXACT)
        assert meter.evaluations == 2 * len(levels) * len(x)


def test_reference_one_step_sampling(reference, toy):
    """CM-6: one level is one step."""
    arrays = reference("distill/cm_sampling")
    with torch.no_grad():
        x = consistency_sampling(
            toy_function(toy["p_student"]), arrays["xT"] / 80, spread_levels(EDM(), 1, 0.6), 0.002, None
        )
    torch.testing.assert_close(x, arrays["onestep_out"], **EXACT)


def test_reference_teacher_sampling(reference, toy_mixture):
    """The baselines in the authors' repository: Heun and Euler on the grid that they share."""
    arrays = reference("distill/cm_sampling")
    cases = [key for key in arrays.names if key.startswith("teacher_")]
    assert cases
    for case in cases:
        _, name, points = case.split("_")
        nfe = 2 * int(points) - 1 if name == "heun" else int(points)
        solver = solvers.get(name, grid={"end": "append-zero"})
        torch.testing.assert_close(solver.sample(toy_mixture(EDM()), arrays["xT"] / 80, nfe=nfe), arrays[case], **EXACT)


def test_reference_multistep_sampling_with_a_denoiser(reference, problem, laws):
    """The released sampler with D(x; t) in the role of f; NFE as recorded."""
    arrays = reference("solvers/consistency")
    assert arrays.meta
    for case, facts in arrays.meta.items():
        u = torch.tensor(facts["ts"][:-1], dtype=torch.float64) / (facts["steps"] - 1)
        with metered() as meter:
            x = consistency_sampling(
                laws("gmm", EDM()), problem["x_T"], at_positions(EDM(), u), 0.002, lambda j: problem["noise"][j]
            )
        torch.testing.assert_close(x, arrays[f"{case}/x"], **EXACT)
        assert meter.evaluations == facts["nfe"] * len(x)


def test_reference_exact_function_of_a_gaussian(reference, toy):
    """f* through its own preconditioning: a network that returns F* makes f*."""
    arrays = reference("distill/gaussian_exact")
    t = arrays["cm_t"]
    f = ConsistencyFunction(Answer(arrays["cm_F_exact"]), 0.5, EDM())(arrays["cm_x"], t)
    torch.testing.assert_close(f, arrays["cm_f_exact"], **EXACT)
    mean, variance, level = toy["gauss_mean"], toy["gauss_var"], t.reshape(-1, 1, 1, 1)
    closed = mean + ((variance + 4e-6) / (variance + level**2)).sqrt() * (arrays["cm_x"] - mean)
    torch.testing.assert_close(closed, arrays["cm_f_exact"], **EXACT)


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
    before = [p.clone() for p in method.target.parameters()]
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1.0)
    method.update_averages()
    for p, q in zip(method.target.parameters(), before, strict=True):
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


def test_the_boundary_scalings_are_edms_far_from_data():
    sigma = torch.tensor([1e3, 1e5], dtype=torch.float64)
    c_skip, c_out, _ = boundary_scalings(sigma, 0.5, 0.002)
    assert (c_skip < 1e-6).all()
    torch.testing.assert_close(c_out, torch.full_like(c_out, 0.5), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("step", "ratio"), [("euler", 16), ("heun", 64)])
def test_twice_the_points_leave_a_sixteenth_of_eulers_residual_and_a_64th_of_heuns(toy_gaussian, toy, step, ratio):
    """CM-4: the loss at the exact consistency function is the square of the teacher step's local error."""
    mean, variance, size = toy["gauss_mean"], toy["gauss_var"], len(toy["x0"])

    def exact(x, t):
        return mean + ((variance + 4e-6) / (variance + t.reshape(-1, 1, 1, 1) ** 2)).sqrt() * (x - mean)

    def residual(points):
        grid = karras(torch.linspace(0, 1, points, dtype=torch.float64), 80.0, 0.002)
        pairs = [(t.expand(size), s.expand(size)) for t, s in pairwise(grid)]
        case = (exact, exact, toy_gaussian(EDM()), toy["x0"], toy["noise"])
        return torch.stack([consistency_loss(*case, t, s, step).mean() for t, s in pairs]).mean()

    assert float(residual(80) / residual(160)) == pytest.approx(ratio, rel=0.1)


def test_clipping_is_of_every_output(teacher):
    """As in the released sampler: what noise is added to is clipped too."""
    plain, clipped = (Consistency(teacher, ConsistencyOptions(clip_x0=clip)).eval() for clip in (False, True))
    start, draws = 3 * torch.randn(16, 2), lambda j: noise(0, f"draw-{j}", range(16), (2,))
    levels, f = spread_levels(teacher.path, 2, 0.5), plain.average.module
    one = f(levels[0] * start, levels[0]).clamp(-1, 1)
    two = f(one + (levels[1] ** 2 - 1e-4).sqrt().float() * draws(0), levels[1]).clamp(-1, 1)
    torch.testing.assert_close(clipped.sample(start, 2, draws=draws), two)
    assert plain.sample(start, 1).abs().max() > 1


class Dropping(nn.Module):
    """A network with dropout, whose masks come from torch's global generator."""

    def __init__(self):
        super().__init__()
        self.mlp = ResidualMLP(2, width=16, blocks=1)
        nn.init.normal_(self.mlp.out.weight, std=0.3)

    def forward(self, x, c_noise, condition=None):
        return self.mlp(nn.functional.dropout(x, 0.3, self.training), c_noise)


def test_both_sides_drop_the_same_units_whatever_the_global_generator():
    torch.manual_seed(0)
    teacher = EDMDenoiser(Dropping(), 0.75, EDM(0.01, 40.0)).requires_grad_(False)
    model = copy.deepcopy(teacher).train()
    x0, eps, t = torch.randn(3, 64, 2)[0], torch.randn(64, 2), torch.full((64,), 1.3)
    same = consistency_loss(model, model, teacher.eval(), x0, eps, t, t, "euler", masks=3)
    assert torch.equal(same, torch.zeros(64))
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        losses.append(Consistency(teacher, ConsistencyOptions(batch=8, target_ema=0.5)).training_step(batch(), 0))
    assert torch.equal(*losses)
