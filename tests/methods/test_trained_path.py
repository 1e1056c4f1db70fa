"""Solvers and learned solvers on the path that a converted teacher was trained on."""

import pytest
import torch
from torch import nn

from fewstep.methods import solvers
from fewstep.methods.denoiser import NetworkDenoiser
from fewstep.methods.learned_solvers.d_ode import DODE
from fewstep.methods.learned_solvers.iia import IIA
from fewstep.methods.paths import EDM, VPDiscrete, VPLinear
from fewstep.methods.specs.d_ode import DODEOptions
from fewstep.methods.specs.iia import IIAOptions
from fewstep.methods.teachers.forms.base import Label
from fewstep.methods.teachers.preconditioned import denoiser
from fewstep.methods.teachers.pretrained import Pretrained

SHAPE = (4, 1, 1)
PATH = VPDiscrete()


class Wave(nn.Module):
    def forward(self, x, label, condition):
        return torch.tanh(x + (label / 1000).to(x.dtype)[:, None, None, None])


@pytest.fixture
def converted():
    """The same network on EDM's path, between noise levels that are not all of its own."""
    found = denoiser(Pretrained(Wave(), PATH, "eps", Label(PATH), SHAPE), 0.02, 80.0)
    found.sample_shape = SHAPE
    return found


@pytest.fixture
def trained():
    found = NetworkDenoiser(Wave(), PATH, "eps", Label(PATH))
    found.sample_shape = SHAPE
    return found


def start(count=3):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("spacing", ["uniform", "quadratic", "log-snr", "ddim-uniform"])
@pytest.mark.parametrize("name", ["dpm-solver-2", "deis-tab2", "unipc-3", "ddim"])
def test_trained_is_the_networks_own_path(name, spacing, converted, trained):
    grid = {"spacing": spacing}
    own = solvers.get(name, grid=grid).sample(trained, start(), nfe=7)
    found = solvers.get(name, grid=grid, path="trained").sample(converted, start(), nfe=7)
    torch.testing.assert_close(found, own, rtol=1e-9, atol=1e-9)


def test_without_another_path_trained_is_the_teachers_own(laws, problem):
    for path in (EDM(), VPLinear()):
        plain, same = solvers.get("euler"), solvers.get("euler", path="trained")
        assert torch.equal(
            same.sample(laws("gmm", path), problem["x_T"], nfe=4),
            plain.sample(laws("gmm", path), problem["x_T"], nfe=4),
        )


GRIDS = [({"spacing": "ddim-uniform"}, None), ({"spacing": "respaced"}, None), ({"spacing": "uniform"}, "trained")]


@pytest.mark.parametrize("targets", ["aligned", "official"])
@pytest.mark.parametrize(("grid", "path"), GRIDS, ids=str)
@pytest.mark.parametrize("solver", ["ddim-noise", "ipndm", "dpm-solver-2", "unipc-2"])
def test_d_ode_is_fitted_on_the_networks_own_path(solver, grid, path, targets, converted, trained):
    def fitted(teacher, path):
        options = DODEOptions(solver=solver, targets=targets, grid=grid, path=path, batch=4, scale=3)
        method = DODE(teacher, options, nfe=5).double()
        while not method.finished:
            method.training_step({"step": 0}, 0)
        return method.corrections.lambdas, method.sample(start(), 5)

    own, found = fitted(trained, None), fitted(converted, path)
    torch.testing.assert_close(found, own, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("solver", ["ddim", "ipndm", "dpmpp-2m"])
def test_iia_is_fitted_on_labels(solver, converted, trained):
    def fitted(teacher):
        method = IIA(teacher, IIAOptions(solver=solver, grid={"spacing": "ddim-uniform"}, batch=4), nfe=5).double()
        method.training_step({"step": 0, "x0": start()}, 0)
        return method.sample(start(), 5)

    torch.testing.assert_close(fitted(converted), fitted(trained), rtol=1e-6, atol=1e-6)
