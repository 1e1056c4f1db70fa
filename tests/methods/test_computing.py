"""Precision, memory format and compilation: of networks alone, and no sample moves further than is said here."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.commands.conformance import setup
from fewstep.bench.stages import teacher as stage
from fewstep.datasets import frozen
from fewstep.methods import computing, solvers
from fewstep.methods.computing import computed
from fewstep.methods.denoiser import metered, networks
from fewstep.methods.randomness import noise
from fewstep.methods.solvers.rk45 import AdaptiveSolver
from fewstep.tests.methods import test_every_family as families

MOVED = {"float32": 0.0, "tf32": 1e-5, "fp16": 5e-3, "bf16": 3e-2}
"""By how much of their size (rms) samples of the digits' teacher differ from those in float32, at most."""


@pytest.fixture
def teacher():
    file = frozen.path("digits-unet-128k")
    options = stage.recipe(file, {"name": "shipped"})
    found = stage._pretrained("digits", file, options, setup.load_data("digits"))
    return found.requires_grad_(False).eval()


def sampled(denoiser, solver="dpmpp-2m", nfe=8):
    return solvers.get(solver).sample(denoiser, noise(0, "start", range(16), (1, 8, 8)), nfe=nfe)


def moved(found, exact):
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.mark.parametrize("solver", ["euler", "dpmpp-2m", "unipc-3", "ipndm"])
@pytest.mark.parametrize("precision", MOVED)
def test_samples_move_no_further_than_the_precisions_rounding(teacher, precision, solver):
    exact = sampled(teacher, solver)
    with computed(networks(teacher), precision):
        found = sampled(teacher, solver)
    assert found.dtype == torch.float32
    assert moved(found, exact) <= MOVED[precision]
    assert torch.equal(sampled(teacher, solver), exact)
    if precision in computing.HALF:
        assert moved(found, exact) > 0.02 * MOVED[precision]


def test_times_and_weights_stay_in_float32(teacher):
    told = []
    teacher.network.register_forward_pre_hook(lambda network, arguments: told.append(arguments[1].dtype))
    with computed(networks(teacher), "bf16"):
        sampled(teacher)
    assert set(told) == {torch.float32}
    assert {parameter.dtype for parameter in teacher.parameters()} == {torch.float32}


class Waves(TorchDispatchMode):
    """The dtypes that sines and cosines are taken in."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        if operation.overloadpacket in (torch.ops.aten.sin, torch.ops.aten.cos):
            self.dtypes.add(arguments[0].dtype)
        return operation(*arguments, **(options or {}))


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_computes_in_bf16_and_embeds_times_in_float32(family):
    denoiser, x = families.teacher(family), noise(0, "x", range(4), (3, 8, 8))
    path, labels = denoiser.path, torch.arange(4) if denoiser.conditional else None
    for level in (0.05, 1.0, 30.0):
        t = path.time_at(torch.tensor(level))
        state = x * path.alpha(t) + x.flip(0) * path.sigma(t)
        exact = denoiser(state, t, labels)
        with computed(networks(denoiser), "bf16"), Waves() as waves:
            found = denoiser(state, t, labels)
        assert waves.dtypes <= {torch.float32, torch.float64}
        assert waves.dtypes
        assert found.dtype == torch.float32
        assert 0 < moved(found, exact) < 3e-2


def test_an_exact_solution_depends_on_no_precision(teacher):
    start = noise(0, "start", range(4), (1, 8, 8))
    exact = AdaptiveSolver(1e-3).sample(teacher, start)
    with computed(networks(teacher), "bf16"):
        assert torch.equal(AdaptiveSolver(1e-3).sample(teacher, start), exact)


def test_channels_last_is_a_form_that_copies_keep(teacher):
    exact = sampled(teacher)
    with computed(networks(teacher), channels_last=True):
        found, student = sampled(teacher), copy.deepcopy(teacher)
    assert moved(found, exact) < 1e-5
    for network in (teacher, student):
        pictures = [p for p in network.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
        assert pictures
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in pictures)


@pytest.mark.parametrize(
    "backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)], ids=["traced", "compiled"]
)
def test_a_compiled_network_gives_the_samples_and_counts_the_operations_of_one_that_is_not(
    teacher, monkeypatch, backend
):
    exact = sampled(teacher)
    with FlopCounterMode(display=False) as counter:
        sampled(teacher)
    calls = []

    def counting(graph, example):
        built = torch._dynamo.lookup_backend(backend)(graph, example)
        return lambda *arguments: calls.append(1) or built(*arguments)

    monkeypatch.setattr(computing, "BACKEND", counting)
    with computed(networks(teacher), compile=True):
        with metered() as meter:
            found = sampled(teacher)
        # One graph, without a break in it, for each evaluation.
        assert len(calls) == meter.forwards / 16
        with FlopCounterMode(display=False) as again, computing.counted():
            assert torch.equal(sampled(teacher), exact)
        assert len(calls) == meter.forwards / 16
    assert moved(found, exact) < 1e-5
    assert again.get_total_flops() == counter.get_total_flops()
