"""Solvers say no as clearly as the command line."""

import numpy as np
import pytest
import torch

from fewstep.methods import solvers
from fewstep.methods.paths import EDM
from fewstep.methods.teachers.analytic import GaussianDenoiser

FIXED_STEP = ["euler", "ddim", "heun", "dpmpp-2m", "unipc-3", "deis-tab3", "ipndm", "dpm-solver-2", "ddpm", "pndm"]
NOISE = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def denoiser():
    return GaussianDenoiser(torch.zeros(2), torch.ones(2), EDM())


@pytest.mark.parametrize("name", [*FIXED_STEP, "rk45"])
@pytest.mark.parametrize(
    "times",
    [
        [0.2, 0.8, 0.5, 0.0],
        [80.0, 1.0, -1.0],
        [80.0, 10.0, 10.0, 0.0],
        [80.0, float("nan"), 0.0],
        [float("inf"), 1.0, 0.0],
        [0.0, 1.0, 80.0],
        [80.0],
        [],
        [[80.0, 0.0]],
        80.0,
        "80 10 0",
    ],
)
def test_times_that_are_no_grid_are_refused(denoiser, name, times):
    with pytest.raises(ValueError, match=r"^times must be"):
        solvers.get(name).sample(denoiser, NOISE, times=times)


@pytest.mark.parametrize("name", ["euler", "rk45"])
@pytest.mark.parametrize("form", [list, tuple, np.array, torch.tensor])
def test_times_may_be_any_sequence_of_numbers(denoiser, form, name):
    times = [80.0, 10.0, 1.0, 0.0]
    expected = solvers.get(name).sample(denoiser, NOISE, times=torch.tensor(times, dtype=torch.float64))
    assert torch.equal(solvers.get(name).sample(denoiser, NOISE, times=form(times)), expected)


@pytest.mark.parametrize("nfe", [2.0, "4", True, 0, -3, np.float64(2), [2], np.bool_(True)])
def test_nfe_is_a_positive_integer(denoiser, nfe):
    with pytest.raises(ValueError, match=r"^nfe must be"):
        solvers.get("euler").sample(denoiser, NOISE, nfe=nfe)


def test_nfe_may_be_an_integer_of_numpy(denoiser):
    assert torch.equal(
        solvers.get("euler").sample(denoiser, NOISE, nfe=np.int64(4)),
        solvers.get("euler").sample(denoiser, NOISE, nfe=4),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp-2m", "unipc-3", "ipndm"])
def test_thresholding_works_in_half_precision(denoiser, name, dtype):
    solver = solvers.get(name, thresholding=1.0)
    x0 = solver.sample(denoiser, NOISE.to(dtype), nfe=5)
    assert x0.dtype == dtype
    tolerance = 0.5 if dtype == torch.bfloat16 else 0.05
    torch.testing.assert_close(x0.float(), solver.sample(denoiser, NOISE, nfe=5), rtol=0, atol=tolerance)
