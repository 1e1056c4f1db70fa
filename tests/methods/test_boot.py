"""BOOT's mathematics: the signal's ODE, its steps and losses, against the references and exact laws."""

import math
from itertools import pairwise

import pytest
import torch

from fewstep.methods import solvers
from fewstep.methods.distillation.boot import (
    STEPS,
    bootstrapping_loss,
    boundary_loss,
    ddim_signal_step,
    slope,
    step_weight,
)
from fewstep.methods.paths import EDM, FlowOT, VPCosine, VPLinear, expand
from fewstep.tests.methods.toy_networks import toy_network

EXACT = {"rtol": 1e-6, "atol": 1e-9}
PATHS = {"vp_linear": VPLinear(), "vp_cosine": VPCosine(), "flow": FlowOT(), "edm": EDM()}
WEIGHTS = {"invdelta2": "1/delta^2", "invcoef2": "1/k^2"}
STEP_NAMES = {"ddim": "ddim", "firstorder": "first-order", "heun": "heun"}


def paths_in(arrays, suffix, prefix=""):
    """(name, path) of every path that the reference file has."""
    names = [key.removeprefix(prefix).removesuffix(suffix) for key in arrays.names if key.endswith(suffix)]
    names = [name for name in names if prefix + name + suffix in arrays and name in PATHS]
    assert names
    return [(name, PATHS[name]) for name in names]


def toy_signal(path, p):
    """y(eps, t) = N(eps, lambda_t/3; p), the references' student."""

    def signal(eps, t):
        return toy_network(eps, -path.half_log_snr(t) / 3, p)

    return signal


def start(path, eps, t):
    """x at the boundary: pure noise, on EDM at the scale t."""
    return expand(t, eps) * eps if isinstance(path, EDM) else eps


def test_reference_targets(reference, toy_mixture):
    """BO-1: four paths, three steps."""
    arrays = reference("distill/boot")
    for name, path in paths_in(arrays, "_t"):
        y, eps, t, s = (arrays[f"{name}_{key}"] for key in ("y_t", "eps", "t", "s"))
        torch.testing.assert_close(path.noisy(y, eps, t), arrays[f"{name}_x_hat"], **EXACT)
        targets = [key for key in arrays.names if key.startswith(f"{name}_target_")]
        assert targets
        for key in targets:
            step = STEPS[STEP_NAMES[key.rpartition("_")[2]]]
            torch.testing.assert_close(step(toy_mixture(path), path, y, eps, t, s), arrays[key], **EXACT)


def test_reference_losses_and_gradients(reference, toy, toy_mixture):
    """BO-1 and BO-6: the gradient through y(eps, s) alone: one through y(eps, t) or the teacher would not match."""
    arrays = reference("distill/boot")
    for name, path in paths_in(arrays, "_t"):
        eps, t, s = (arrays[f"{name}_{key}"] for key in ("eps", "t", "s"))
        losses = [key for key in arrays.names if key.startswith(f"{name}_loss_")]
        assert losses
        for key in losses:
            step, weight = key.removeprefix(f"{name}_loss_").split("_")
            p = toy["p_student"].clone().requires_grad_()
            signal, f = toy_signal(path, p), toy_mixture(path)
            loss = bootstrapping_loss(signal, f, path, eps, t, s, STEP_NAMES[step])
            loss = step_weight(WEIGHTS[weight], path, t, s) * loss
            torch.testing.assert_close(loss, arrays[key], **EXACT)
            (gradient,) = torch.autograd.grad(loss.mean(), p)
            torch.testing.assert_close(gradient, arrays[key.replace("_loss_", "_grad_")], **EXACT)


def test_reference_boundary_losses_and_gradients(reference, toy, toy_mixture):
    arrays = reference("distill/boot")
    for name, path in paths_in(arrays, "_tmax"):
        eps, t_max = arrays[f"{name}_eps"], arrays[f"{name}_tmax"]
        p = toy["p_student"].clone().requires_grad_()
        loss = boundary_loss(toy_signal(path, p), toy_mixture(path), start(path, eps, t_max), eps, t_max)
        torch.testing.assert_close(loss, arrays[f"{name}_bc_loss"], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), p)
        torch.testing.assert_close(gradient, arrays[f"{name}_bc_grad"], **EXACT)


def gaussian_signal(toy, path, x_max, t_max, eps, t):
    """The exact y_t on the trajectory of N(m, v) from x_max at t_max; t () or (B,)."""
    mean, variance = toy["gauss_mean"], toy["gauss_var"]

    def moments(t):
        alpha, sigma = expand(path.alpha(t), eps), expand(path.sigma(t), eps)
        return alpha, sigma, (alpha**2 * variance + sigma**2).sqrt()

    alpha, sigma, std = moments(t)
    alpha_max, _, std_max = moments(t_max)
    x = alpha * mean + std / std_max * (x_max - alpha_max * mean)
    return (x - sigma * eps) / alpha


def test_reference_signal_of_a_gaussian_obeys_its_ode(reference, toy, toy_gaussian):
    """BO-5."""
    arrays = reference("distill/boot")
    for name, path in paths_in(arrays, "_gauss_t"):
        t, eps, t_max = (arrays[f"{name}_{key}"] for key in ("gauss_t", "eps", "tmax"))

        def y(t, path=path, name=name, eps=eps, t_max=t_max):
            return gaussian_signal(toy, path, arrays[f"{name}_gauss_xT"], t_max, eps, t)

        torch.testing.assert_close(y(t), arrays[f"{name}_gauss_y"], **EXACT)
        derivative = -slope(toy_gaussian(path), path, y(t), eps, t)
        torch.testing.assert_close(derivative, arrays[f"{name}_gauss_dydt"], **EXACT)
        h = 1e-5 * t
        differences = (y(t + h) - y(t - h)) / expand(2 * h, eps)
        torch.testing.assert_close(derivative, differences, rtol=1e-6, atol=1e-6)


def test_reference_chain_of_targets_is_ddim(reference, toy_mixture):
    """BO-2."""
    arrays = reference("distill/boot_chain")
    eps = arrays["eps"]
    for name, path in paths_in(arrays, "_t", "chain_"):
        times, f = arrays[f"chain_{name}_t"], toy_mixture(path)
        y = f(start(path, eps, times[0]), times[0])
        torch.testing.assert_close(y, arrays[f"chain_{name}_y_boundary"], **EXACT)
        # A solver starts at sigma(t) times its noise.
        x = solvers.get("euler").sample(f, path.noisy(y, eps, times[0]) / path.sigma(times[0]), times=times)
        chain = [y]
        for t, s in pairwise(times):
            chain.append(ddim_signal_step(f, path, chain[-1], eps, t, s))
        torch.testing.assert_close(path.noisy(chain[-1], eps, times[-1]), x, rtol=0, atol=1e-12 * float(x.abs().max()))
        torch.testing.assert_close(x, arrays[f"chain_{name}_x_final_ddim"], **EXACT)
        if f"chain_{name}_y" in arrays:
            torch.testing.assert_close(torch.stack(chain), arrays[f"chain_{name}_y"], **EXACT)


def test_reference_boundary_is_the_limit_of_the_signal_where_the_data_vanish(reference, toy, toy_gaussian):
    """From alpha = 0 the exact signal differs from D(eps, t) by alpha v eps/2 and terms in alpha^2."""
    arrays = reference("distill/boot_chain")
    eps, mean, variance = arrays["eps"], toy["gauss_mean"], toy["gauss_var"]
    for name, path in paths_in(arrays, "_t", "gauss_limit_"):
        t, y = arrays[f"gauss_limit_{name}_t"], arrays[f"gauss_limit_{name}_y"]
        f = toy_gaussian(path)(eps, t)
        torch.testing.assert_close(f, arrays[f"gauss_limit_{name}_boundary_f"], **EXACT)
        if isinstance(path, FlowOT):
            continue  # sigma = 1 - alpha has a first-order term of its own
        alpha = expand(path.alpha(t), eps)
        remainder = (f - y - alpha * variance * eps / 2) / alpha**2
        small = path.alpha(t) < 0.2
        assert small.any()
        bound = 2 * variance * (mean.abs() + eps.abs() + 1)
        assert (remainder.abs() < bound)[small].all()


def affine_optimum(loss, eps):
    """(a, c) of the student y = a + c eps, elementwise, that minimises the quadratic loss(signal)."""

    def of(p):
        return loss(lambda noise, t: p[0] + p[1] * noise).sum()

    zero = torch.zeros(2, *eps.shape[1:], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(of(zero), zero)
    hessian = torch.autograd.functional.hessian(of, zero.detach()).reshape(gradient.numel(), -1)
    return torch.linalg.solve(hessian, -gradient.flatten()).reshape(zero.shape)


@pytest.mark.parametrize("name", ["vp_linear", "vp_cosine", "edm"])
def test_reference_boundary_loss_alone_makes_the_student_the_teacher(toy, toy_gaussian, name):
    """BO-3."""
    path, eps = PATHS[name], toy["zlat"]
    t_max = torch.tensor(0.9 * path.t_max, dtype=torch.float64)
    f, x = toy_gaussian(path), start(path, eps, t_max)
    a, c = affine_optimum(lambda signal: boundary_loss(signal, f, x, eps, t_max), eps)
    torch.testing.assert_close(a + c * eps, f(x, t_max), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("step", "order"), [("ddim", 1), ("first-order", 1), ("heun", 2)])
def test_reference_bootstrapped_student_converges_at_the_order_of_its_steps(toy, toy_gaussian, step, order):
    """BO-4: each level's affine student minimises the loss given the level before; the last meets the exact signal."""
    path, eps, t_max = VPCosine(), toy["zlat"], torch.tensor(0.95, dtype=torch.float64)
    f, size = toy_gaussian(path), len(toy["zlat"])
    x_max = path.noisy(f(eps, t_max), eps, t_max)

    def error(steps):
        times = torch.linspace(0.95, 0.05, steps + 1, dtype=torch.float64)
        y = f(eps, t_max)
        for t, s in pairwise(times):

            def loss(fitted, before=y, t=t, s=s):
                def signal(noise, level):
                    return before if level[0] == t else fitted(noise, level)

                return bootstrapping_loss(signal, f, path, eps, t.expand(size), s.expand(size), step)

            a, c = affine_optimum(loss, eps)
            y = a + c * eps
        exact = gaussian_signal(toy, path, x_max, t_max, eps, times[-1])
        return float((y - exact).square().mean().sqrt())

    coarse, fine = error(20), error(40)
    assert coarse < 0.1
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.3)
