"""Closed-form denoisers against the reference and against what they must be."""

import torch

from fewstep.methods.paths import EDM, FlowOT, Path, VPLinear
from fewstep.methods.teachers.analytic import GaussianDenoiser, MixtureDenoiser, ideal_denoiser


class Pair(Path):
    """A path that is one (alpha, sigma) pair at every time."""

    def __init__(self, alpha, sigma):
        self._alpha, self._sigma = alpha, sigma

    def alpha(self, t):
        return self._alpha

    def sigma(self, t):
        return self._sigma

    dalpha = dsigma = time_at = None


def test_reference_mixture_and_gaussian_denoisers(toy, toy_mixture, toy_gaussian):
    for i, (alpha, sigma) in enumerate(toy["den_alpha_sigma"]):
        path = Pair(alpha, sigma)
        x = toy["den_x"][i]
        mixture = toy_mixture(path)(x, 0.0)
        torch.testing.assert_close(mixture, toy["den_gmm"][i], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(toy_gaussian(path)(x, 0.0), toy["den_gauss"][i], rtol=1e-9, atol=1e-9)
        score = toy["den_gmm_score"][i]
        torch.testing.assert_close(path.score(x, mixture, 0.0), score, rtol=1e-7, atol=1e-8 * float(score.abs().max()))


def test_a_mixture_of_one_is_the_gaussian():
    mean = torch.randn(3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    path = VPLinear()
    mixture = MixtureDenoiser(torch.ones(1), mean[None], torch.tensor([0.3]).double(), path)
    gaussian = GaussianDenoiser(mean, torch.full((3,), 0.3).float().double(), path)
    for t in (0.05, 0.5, 1.0):
        torch.testing.assert_close(mixture(x, t), gaussian(x, t), rtol=1e-6, atol=1e-7)


def test_the_ideal_denoiser_returns_training_images_at_small_noise():
    images = torch.randn(20, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    denoiser = ideal_denoiser(images, EDM(0.01, 40.0))
    nearly = images + 0.01 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(denoiser(nearly, 0.01), images, rtol=0, atol=1e-12)


def test_the_ideal_denoiser_returns_the_mean_at_large_noise():
    images = torch.randn(20, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = 1e6 * torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    denoised = ideal_denoiser(images, EDM(0.01, 1e6))(x, 1e6)
    torch.testing.assert_close(denoised, images.mean(0).expand(3, 1, 4, 4), rtol=0, atol=1e-4)


def test_a_flow_start_is_the_data_mean():
    """At t = 1 there is no signal, and the denoiser divides by nothing that is 0."""
    mean, x = torch.tensor([1.0, -2.0]).double(), torch.randn(4, 2, dtype=torch.float64)
    torch.testing.assert_close(GaussianDenoiser(mean, torch.ones(2).double(), FlowOT())(x, 1.0), mean.expand(4, 2))
