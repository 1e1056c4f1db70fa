"""Every trained method's `sample` says no as clearly as a solver's, and takes what a solver takes."""

import numpy as np
import pytest
import torch
from torch import nn

from fewstep.bench.stages.train import build
from fewstep.methods import registry
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import draws_from

TRAINED = list(registry.of_kind("learned solver", "student"))
NFE = {"bespoke": 4, "d-ode": 4, "iia": 5, "progressive": 4}
NOISE = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))


def untrained(name):
    """The method before its first step, on a small network; students are copies of it."""
    torch.manual_seed(0)
    network = ResidualMLP(2, width=16, blocks=1)
    nn.init.normal_(network.out.weight, std=0.3)
    teacher = EDMDenoiser(network, 0.75, EDM(0.01, 40.0))
    teacher.sample_shape = (2,)
    method = build(name, {}, teacher, nfe=NFE.get(name, 1))
    if name == "iia":
        method.solver.coefficients.zero_()
    return method


@pytest.mark.parametrize("name", TRAINED)
def test_nfe_is_a_positive_integer(name):
    method, nfe = untrained(name), NFE.get(name, 1)
    for wrong in (float(nfe), str(nfe), True, 0, -3, np.float64(nfe), [nfe], None):
        with pytest.raises(ValueError, match=r"^nfe must be"):
            method.sample(NOISE, wrong, draws=draws_from(NOISE))


@pytest.mark.parametrize("name", TRAINED)
def test_nfe_may_be_an_integer_of_numpy(name):
    method, nfe = untrained(name), NFE.get(name, 1)
    samples = [method.sample(NOISE, n, draws=draws_from(NOISE)) for n in (np.int64(nfe), nfe)]
    assert torch.equal(*samples)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", TRAINED)
def test_noise_may_be_in_half_precision(name, dtype):
    """x0 keeps its dtype, and is the value in single precision of the same noise but for the roundings."""
    method, nfe, half = untrained(name), NFE.get(name, 1), NOISE.to(dtype)
    x0 = method.sample(half, nfe, draws=draws_from(half))
    assert x0.dtype == dtype
    expected = method.sample(half.float(), nfe, draws=draws_from(half))
    tolerance = 30 * torch.finfo(dtype).eps
    torch.testing.assert_close(x0.float(), expected, rtol=tolerance, atol=tolerance)
