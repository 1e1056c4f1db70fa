"""A GPU gives the CPU's samples, students and ledgers: these run where torch sees one."""

import copy

import pytest
import torch

from fewstep.bench.commands.conformance import setup
from fewstep.bench.training import loop
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods.computing import computed
from fewstep.methods.denoiser import networks
from fewstep.methods.randomness import noise
from fewstep.methods.registry import METHODS
from fewstep.methods.solvers.rk45 import AdaptiveSolver

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
SOLVERS = sorted(name for name, spec in METHODS.items() if spec.kind == "solver" and spec.rule is not None)
STUDENTS = ("boot", "consistency", "consistency-training", "d-ode", "diff-instruct", "progressive", "sim", "tract")
STEPS = 20


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("name", SOLVERS)
def test_samples_of_a_gpu_are_those_of_the_cpu(name):
    spec, data = METHODS[name], setup.load_data("digits")
    options, teacher, start = spec.options(), setup.teacher(data), noise(0, "start", range(8), data.shape)
    nfe = [n for n in range(1, 14) if spec.refusal(n, options) is None][-1]
    solver = setup.solver(spec, options)

    def draws(j):
        return noise(0, f"draw-{j}", range(8), data.shape)

    expected = solver.sample(teacher, start, nfe=nfe, draws=draws)
    found = solver.sample(teacher.to("cuda"), start.to("cuda"), nfe=nfe, draws=draws)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


def test_the_truth_of_a_gpu_is_that_of_the_cpu():
    data = setup.load_data("digits")
    teacher, start = setup.teacher(data), noise(0, "start", range(4), data.shape)
    expected = AdaptiveSolver(1e-4).sample(teacher, start)
    found = AdaptiveSolver(1e-4).sample(teacher.to("cuda"), start.to("cuda"))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


class Stops(NoTracker):
    """Ends the run in a step, as a kill does."""

    def __init__(self, step):
        self.step = step

    def look(self, step, share):
        if step == self.step:
            raise KeyboardInterrupt


def made(name):
    spec, data = METHODS[name], setup.load_data("digits")
    options = spec.options.model_validate({"batch": 8, **({"scale": 4} if name == "d-ode" else {})})
    return setup.method(spec, options, setup.teacher(data), 4 if spec.per_nfe else None), data


def trained(name, device, folder, tracker=None):
    method, data = made(name)
    unit = forward_flops(method.teacher.unwrapped(), torch.zeros(2, *data.shape))
    ledger = Ledger(STEPS * method.batch_size, "images", unit)
    fit(method, data, 0, ledger, folder, tracker or NoTracker(), device=device)
    return method.to("cpu"), ledger


def distance(one, other):
    pairs = zip(one.result().parameters(), other.result().parameters(), strict=True)
    return max((float((p - q).abs().max()) for p, q in pairs), default=0.0)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_gpu_has_the_ledger_of_the_cpu_and_nearly_its_student(name, tmp_path):
    (here, own), (there, ledger) = trained(name, "cpu", tmp_path / "cpu"), trained(name, "cuda", tmp_path / "cuda")
    assert ledger.uses == own.uses
    assert (ledger.steps, ledger.images, ledger.kind_steps) == (own.steps, own.images, own.kind_steps)
    assert distance(here, there) < 1e-2


def test_a_killed_training_on_a_gpu_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained("progressive", "cuda", tmp_path, Stops(12))
    assert (tmp_path / loop.CHECKPOINT).exists()
    resumed, ledger = trained("progressive", "cuda", tmp_path)
    whole, own = trained("progressive", "cuda", tmp_path / "whole")
    assert ledger.uses == own.uses
    assert distance(resumed, whole) < 1e-3


def test_half_precision_in_the_network_alone_moves_samples_little():
    data = setup.load_data("digits")
    teacher, spec = setup.teacher(data).to("cuda"), METHODS["heun"]
    start, solver = noise(0, "start", range(8), data.shape).to("cuda"), setup.solver(spec, spec.options())
    exact = solver.sample(teacher, start, nfe=9)
    for precision, tolerance in (("float32", 1e-5), ("tf32", 1e-2), ("fp16", 1e-2), ("bf16", 0.05)):
        for form in ({}, {"channels_last": True}, {"channels_last": True, "compile": True}):
            own = copy.deepcopy(teacher)
            with computed(networks(own), precision, **form):
                found = solver.sample(own, start, nfe=9)
            assert found.dtype == torch.float32
            assert float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt()) < tolerance
