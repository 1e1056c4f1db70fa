"""The Fréchet distance to a law that is known."""

import pytest
import torch

from fewstep import datasets
from fewstep.bench.stages.score import of_law
from fewstep.methods.randomness import generator

NAMES = ["mixture-2d", "mixture-8x8"]


@pytest.mark.parametrize("name", NAMES)
def test_moments_are_those_of_the_samples(name):
    law = datasets.get(name)
    x = law.samples(torch.arange(len(law))).flatten(1).double()
    mean, covariance = law.moments()
    error = x.std(0) / len(law) ** 0.5
    assert bool(((x.mean(0) - mean).abs() < 5 * error).all())
    torch.testing.assert_close(torch.cov(x.T), covariance, rtol=0, atol=0.03 * float(covariance.diagonal().max()))


@pytest.mark.parametrize("name", NAMES)
def test_the_distance_of_the_law_to_itself_is_nothing_and_of_shifted_samples_the_shift(name):
    law = datasets.get(name)
    x = law.samples(torch.arange(len(law)))
    own = of_law(x, name, ["fd_law"])["fd_law"]
    shifted = of_law(x + 0.5, name, ["fd_law"])["fd_law"]
    dimensions = x[0].numel()
    assert 0 <= own.value < 2e-3 * dimensions
    assert shifted.value == pytest.approx(0.25 * dimensions, rel=0.02)
    assert own.protocol == f"fd_law/samples/float/{len(law)}/{name}-law"


def test_samples_of_one_component_are_far_from_the_law_by_what_the_others_spread():
    law = datasets.get("mixture-8x8")
    eps = torch.randn(20_000, *law.shape, generator=generator(0, "eps"))
    x = law.means[3] + law.stds[3] * eps
    mean, covariance = law.moments()
    # Of N(m, s^2 I) to (mean, covariance): |m - mean|^2 + sum (s - sqrt(eigenvalue))^2.
    eigenvalues = torch.linalg.eigvalsh(covariance).clamp(min=0)
    expected = (law.means[3].flatten() - mean).square().sum() + (law.stds[3] - eigenvalues.sqrt()).square().sum()
    assert of_law(x, "mixture-8x8", ["fd_law"])["fd_law"].value == pytest.approx(float(expected), rel=0.01)
