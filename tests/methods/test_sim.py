"""Losses of SIM, SiD, Diff-Instruct and DMD against the authors' numbers, closed forms and each other."""

import math

import numpy as np
import pytest
import torch

from fewstep.methods.distillation.diff_instruct import diff_instruct_loss
from fewstep.methods.distillation.dmd import dmd_field, dmd_loss
from fewstep.methods.distillation.score_matching import Noised, fake_loss
from fewstep.methods.distillation.sim import (
    differences,
    dot,
    l2_loss,
    pseudo_huber_loss,
    score_weight,
    sid_loss,
)
from fewstep.methods.paths import EDM, Path, VPCosine
from fewstep.methods.solvers.grids import karras
from fewstep.methods.teachers.analytic import GaussianDenoiser
from fewstep.tests.methods.toy_networks import toy_edm, toy_network

EXACT = {"rtol": 1e-6, "atol": 1e-9}
SIGMA_DATA = 0.5
PATH = EDM()
ALPHAS = {"0p5": 0.5, "1p0": 1.0, "1p2": 1.2}
POWERS = {"one": 0, "sigma2": 2, "sigma4": 4}


@pytest.fixture
def generated(reference, toy):
    """(p, x0 = G(z; p)) of the references' generator, to be differentiated in p."""
    p = reference("distill/score_distill")["p_gen"].clone().requires_grad_(True)
    return p, toy_network(toy["zlat"], torch.zeros(8, dtype=torch.float64), p)


@pytest.fixture
def noised(generated, toy, toy_mixture):
    """sigma -> what a loss is made of, with the gradient through both denoisers."""

    def at(sigma):
        x0 = generated[1]
        x = PATH.noisy(x0, toy["noise"], sigma)
        return Noised(x0, x, sigma, toy_edm(toy["p_fake"])(x, sigma), toy_mixture(PATH)(x, sigma))

    return at


def gradient(loss, p):
    return torch.autograd.grad(loss, p, retain_graph=True)[0]


def test_reference_sim_on_the_edm_path(reference, noised, generated):
    """SI-2: 3 weights x 4 distances, of scores; the gradient of the batch mean."""
    arrays, (p, _) = reference("distill/score_distill"), generated
    parts = noised(arrays["sigma"])
    torch.testing.assert_close(parts.x0, arrays["x_gen"], **EXACT)
    torch.testing.assert_close(parts.x, arrays["sim_edm_x_t"], **EXACT)
    y, residual = differences(PATH, parts, "score")
    torch.testing.assert_close(y, arrays["sim_edm_score_fake"] - arrays["sim_edm_score_teacher"], **EXACT)
    losses = {"l2": l2_loss(y, residual)}
    losses |= {f"ph_c{c}": pseudo_huber_loss(y, residual, float(c.replace("p", "."))) for c in ("0p03", "1p0", "20p0")}
    names = {"one": "uniform", "sigma2": "sigma^2", "sigma4": "sigma^4"}
    for distance, loss in losses.items():
        for power, weight in names.items():
            key, weighted = f"sim_edm_{distance}_{power}", score_weight(weight, parts) * loss
            torch.testing.assert_close(weighted, arrays[f"{key}_loss"], **EXACT)
            torch.testing.assert_close(gradient(weighted.mean(), p), arrays[f"{key}_grad"], **EXACT)


def test_reference_sim_on_the_vp_path(reference, toy, toy_mixture, generated):
    """SI-2 on VP-cosine, weight 1 and c = 1: the same formulas with the path's alpha and sigma."""
    arrays, (p, x0) = reference("distill/score_distill"), generated
    path, t = VPCosine(), arrays["sim_vp_t"]
    torch.testing.assert_close(path.alpha(t), arrays["sim_vp_alpha"], **EXACT)
    x = path.noisy(x0, toy["noise"], t)
    fake = toy_network(x, path.half_log_snr(t) / 5, toy["p_fake"])
    y, residual = differences(path, Noised(x0, x, t, fake, toy_mixture(path)(x, t)), "score")
    for name, loss in (("l2", l2_loss(y, residual)), ("ph", pseudo_huber_loss(y, residual, 1.0))):
        torch.testing.assert_close(loss, arrays[f"sim_vp_{name}_loss"], **EXACT)
        torch.testing.assert_close(gradient(loss.mean(), p), arrays[f"sim_vp_{name}_grad"], **EXACT)


def test_reference_sid(reference, noised, generated):
    """SI-3: levels, normaliser, losses summed over the sample; the official gradient is good to 6e-8."""
    arrays, (p, _) = reference("distill/score_distill"), generated
    sigma = karras(0.8 * arrays["sid_uniform"], 0.002, 80.0)
    torch.testing.assert_close(sigma, arrays["sid_sigma"], **EXACT)
    parts = noised(sigma)
    torch.testing.assert_close(parts.fake, arrays["sid_D_fake"], **EXACT)
    weight = score_weight("sid", parts)
    torch.testing.assert_close(1 / weight, arrays["sid_weight_factor"], **EXACT)
    for name, alpha in ALPHAS.items():
        loss = weight * sid_loss(*differences(PATH, parts, "denoiser"), alpha)
        torch.testing.assert_close(loss, arrays[f"sid_alpha{name}_loss"].flatten(1).sum(1), **EXACT)
        torch.testing.assert_close(gradient(loss.sum() / 8, p), arrays[f"sid_alpha{name}_grad"], **EXACT)
        official = arrays[f"sid_alpha{name}_grad_official"]
        torch.testing.assert_close(gradient(loss.sum() / 8, p), official, rtol=1e-6, atol=1e-6)


def test_reference_fake_loss(reference, toy):
    """SI-3: SiD's and Diff-Instruct's, summed over the sample."""
    arrays = reference("distill/score_distill")
    p, sigma = toy["p_fake"].clone().requires_grad_(True), arrays["fake_sigma"]
    loss = fake_loss(toy_edm(p), arrays["x_gen"], sigma, toy["noise"], SIGMA_DATA)
    torch.testing.assert_close(loss, arrays["fake_loss"].flatten(1).sum(1), **EXACT)
    torch.testing.assert_close(gradient(loss.sum() / 8, p), arrays["fake_grad"], **EXACT)


def test_reference_diff_instruct(reference, noised, generated):
    """DI-1: the official loss and gradient; in scores it is the weight sigma^2."""
    arrays, (p, x0) = reference("distill/score_distill"), generated
    parts = noised(arrays["fake_sigma"])
    loss = diff_instruct_loss(x0, parts.fake, parts.teacher)
    torch.testing.assert_close(loss, arrays["di_loss"].flatten(1).sum(1), **EXACT)
    torch.testing.assert_close(gradient(loss.sum() / 8, p), arrays["di_grad"], **EXACT)
    parts = noised(arrays["sigma"])
    loss = diff_instruct_loss(x0, parts.fake, parts.teacher)
    torch.testing.assert_close(gradient(loss.mean(), p), arrays["di_score_sigma2_grad"], **EXACT)


def test_reference_dmd(reference, toy, toy_mixture):
    arrays = reference("distill/dmd")
    p, sigma = arrays["p_gen"].clone().requires_grad_(True), arrays["sigma"]
    x0 = toy_network(toy["zlat"], torch.zeros(8, dtype=torch.float64), p)
    torch.testing.assert_close(x0, arrays["x_gen"], **EXACT)
    x = PATH.noisy(x0, toy["noise"], sigma)
    fake, teacher = toy_edm(toy["p_fake"])(x, sigma), toy_mixture(PATH)(x, sigma)
    torch.testing.assert_close(dmd_field(x0, fake, teacher), arrays["grad_field"], **EXACT)
    loss = dmd_loss(x0, fake, teacher).mean()
    torch.testing.assert_close(loss, arrays["loss_dm"], **EXACT)
    torch.testing.assert_close(gradient(loss, p), arrays["grad_param"], **EXACT)
    elements = fake_loss(toy_edm(toy["p_fake"]), x0.detach(), sigma, toy["noise"], SIGMA_DATA).sum() / x0.numel()
    torch.testing.assert_close(elements, arrays["loss_fake"], **EXACT)
    index = torch.arange(1000, dtype=torch.float64) / 999
    torch.testing.assert_close(karras(index, 0.002, 80.0), arrays["karras_1000"], **EXACT)


class OneGaussian(Path):
    """alpha and sigma of one problem, at every time."""

    def __init__(self, alpha, sigma):
        self._alpha, self._sigma = alpha, sigma

    def alpha(self, t):
        return self._alpha.expand_as(torch.as_tensor(t))

    def sigma(self, t):
        return self._sigma.expand_as(torch.as_tensor(t))

    def dalpha(self, t):
        raise NotImplementedError

    dsigma = time_at = dalpha


def gaussian_gradients(arrays, k, nodes, loss):
    """d/d(mean, scale) of E loss(path, parts) for x0 = mean + scale z and exact scores, by Gauss-Hermite quadrature."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    points, weights = torch.as_tensor(points), torch.as_tensor(weights / math.sqrt(2 * math.pi))
    z, eps = (grid.reshape(-1, 1) for grid in torch.meshgrid(points, points, indexing="ij"))
    weight = torch.outer(weights, weights).reshape(-1)
    mean, scale, q_mean, q_var, alpha, sigma = (
        arrays[key][k] for key in ("gen_mean", "gen_scale", "q_mean", "q_var", "alpha", "sigma")
    )
    path = OneGaussian(alpha, sigma)
    t = torch.zeros(len(z), dtype=torch.float64)
    parameters = [mean.clone().requires_grad_(True), scale.clone().requires_grad_(True)]
    x0 = parameters[0] + parameters[1] * z
    x = path.noisy(x0, eps, t)
    fake, teacher = (GaussianDenoiser(m[None], v[None], path)(x, t) for m, v in ((mean, scale**2), (q_mean, q_var)))
    return torch.autograd.grad((weight * loss(path, Noised(x0, x, t, fake, teacher))).sum(), parameters)


@pytest.mark.parametrize("k", range(6))
def test_the_sim_gradient_of_a_gaussian_is_the_divergences(reference, k):
    """SI-1: the theorem. The gradient of the surrogate is 2 alpha^2 (m_g - m_q)/(U V), 4 alpha^2 l (V - U)/(U V^2)."""
    arrays = reference("distill/sim_gaussian")
    found = gaussian_gradients(arrays, k, 12, lambda path, parts: l2_loss(*differences(path, parts, "score")))
    expected = [arrays[f"grad_{name}_l2"][k] for name in ("mean", "scale")]
    torch.testing.assert_close(list(found), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("k", range(6))
def test_the_pseudo_huber_gradient_of_a_gaussian_is_the_divergences(reference, k):
    """SI-1, by quadrature on both sides."""
    arrays = reference("distill/sim_gaussian")
    c = float(arrays["ph_c"])
    found = gaussian_gradients(
        arrays, k, 120, lambda path, parts: pseudo_huber_loss(*differences(path, parts, "score"), c)
    )
    expected = [arrays[f"grad_{name}_ph"][k] for name in ("mean", "scale")]
    torch.testing.assert_close(list(found), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("k", range(6))
def test_diff_instructs_gradient_of_a_gaussian_is_the_kl_divergences(reference, k):
    """DI-2: alpha^2 (m_g - m_q)/U and alpha^2 l (1/U - 1/V), in scores: D's difference times alpha^2/sigma^2."""
    arrays = reference("distill/sim_gaussian")
    weight = (arrays["alpha"][k] / arrays["sigma"][k]) ** 2
    found = gaussian_gradients(
        arrays, k, 12, lambda path, parts: weight * diff_instruct_loss(parts.x0, parts.fake, parts.teacher)
    )
    expected = [arrays[f"grad_{name}_kl"][k] for name in ("mean", "scale")]
    torch.testing.assert_close(list(found), expected, rtol=1e-12, atol=1e-12)


def test_the_squared_distance_of_scores_is_sid_without_its_normaliser(noised, reference):
    """SI-4: w = sigma^4/2 and alpha = 1."""
    parts = noised(reference("distill/score_distill")["sigma"])
    of_scores = score_weight("sigma^4", parts) / 2 * l2_loss(*differences(PATH, parts, "score"))
    of_denoisers = sid_loss(*differences(PATH, parts, "denoiser"), 1.0)
    torch.testing.assert_close(of_scores, of_denoisers, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(2 * of_denoisers, l2_loss(*differences(PATH, parts, "denoiser")))


@pytest.mark.parametrize("of", ["score", "denoiser"])
def test_where_the_distributions_agree_nothing_moves(generated, toy, toy_mixture, reference, of):
    """SI-5: y = 0 everywhere, so losses and gradients are exactly 0."""
    p, x0 = generated
    sigma = reference("distill/score_distill")["sigma"]
    x = PATH.noisy(x0, toy["noise"], sigma)
    teacher = toy_mixture(PATH)(x, sigma)
    y, residual = differences(PATH, Noised(x0, x, sigma, teacher, teacher), of)
    for loss in (l2_loss(y, residual), pseudo_huber_loss(y, residual, 0.1), sid_loss(y, residual, 1.2)):
        assert torch.equal(loss, torch.zeros(8, dtype=torch.float64))
        assert torch.equal(gradient(loss.sum(), p), torch.zeros(4, dtype=torch.float64))


def test_pseudo_huber_is_l2_for_large_c_and_scale_free_for_small(generated, noised, reference):
    """SI-6: the gradient tends to that of |y|^2/(2c); for c -> 0 scaling y changes nothing."""
    p, _ = generated
    y, residual = differences(PATH, noised(reference("distill/score_distill")["sigma"]), "denoiser")
    large = 1e6
    torch.testing.assert_close(
        gradient(pseudo_huber_loss(y, residual, large).sum(), p) * 2 * large,
        gradient(l2_loss(y, residual).sum(), p),
        rtol=1e-8,
        atol=1e-8,
    )
    one, scaled = (gradient(pseudo_huber_loss(k * y, residual, 1e-9).sum(), p) for k in (1.0, 1000.0))
    torch.testing.assert_close(one, scaled, rtol=1e-8, atol=1e-8)
    bound = dot(residual, residual).sqrt()
    assert (pseudo_huber_loss(1e6 * y, residual, 0.1).abs() <= bound).all()
