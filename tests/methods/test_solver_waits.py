"""No solver makes the host wait for the GPU inside its loop, but for the adaptive one, which looks at its errors."""

import copy

import pytest
import torch

from fewstep.bench.commands.conformance import setup
from fewstep.methods.denoiser import NetworkDenoiser
from fewstep.methods.paths import VPDiscrete
from fewstep.methods.randomness import noise
from fewstep.methods.registry import METHODS
from fewstep.tests.pretended import CUDA, pretended_gpu

SOLVERS = sorted(name for name, spec in METHODS.items() if spec.kind == "solver")
VARIANTS = {
    "ddim": [{"eta": 1.0}],
    "ddpm": [{"variance": "fixedlarge"}],
    "f-pndm": [{"integer_labels": True, "grid": {"spacing": "ddim-uniform"}}],
    "runge-kutta": [{"tableau": "rk4", "variable": "rho"}, {"last_step": "euler"}],
}
SHAPE = (2,)


def teachers():
    edm = setup.teacher(setup.load_data("mixture-2d"))
    yield edm
    vp = NetworkDenoiser(edm.network, VPDiscrete(), "eps", VPDiscrete().label)
    vp.sample_shape = SHAPE
    yield vp


def draws(j):
    return noise(0, f"draw-{j}", range(4), SHAPE)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_waits_for_nothing_in_its_loop(name):
    spec, start = METHODS[name], noise(0, "start", range(4), SHAPE)
    runs = 0
    for given in [{}, *VARIANTS.get(name, [])]:
        options = spec.options.model_validate(given)
        nfe = None if spec.rule is None else [n for n in range(1, 14) if spec.refusal(n, options) is None][-1]
        for teacher in teachers():
            solver = setup.solver(spec, options)
            try:
                expected = solver.sample(teacher, start, nfe=nfe, draws=draws)
            except ValueError:  # options of labels, on a path without
                continue
            with pretended_gpu() as waits:
                placed = start.to("cuda", non_blocking=True)
                found = solver.sample(copy.deepcopy(teacher).to("cuda"), placed, nfe=nfe, draws=draws)
                assert found.device == CUDA
                assert spec.rule is None or not waits, waits
                torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
            runs += 1
    assert runs
