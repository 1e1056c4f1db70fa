"""On a pretended GPU nothing meets a tensor of the CPU, and the host waits for it once in ten training steps."""

import pytest
import torch

from fewstep.bench.commands.conformance import setup
from fewstep.bench.metrics.extractors.stand_ins import Projection
from fewstep.bench.metrics.frechet import frechet_distance
from fewstep.bench.metrics.manifold import manifold_scores
from fewstep.bench.stages import extractor
from fewstep.bench.stages.sample import sampler
from fewstep.bench.training import loop
from fewstep.bench.training.feature_classifier import ClassifierTraining
from fewstep.bench.training.ledger import Ledger
from fewstep.bench.training.loop import fit
from fewstep.bench.training.readings import STEPS
from fewstep.bench.training.tracking import NoTracker
from fewstep.datasets.registry import DATASETS
from fewstep.methods.prompts import Encoded, write
from fewstep.methods.registry import METHODS
from fewstep.methods.solvers.rk45 import AdaptiveSolver
from fewstep.methods.specs.teachers.pretrain import PretrainOptions, UNetOptions
from fewstep.methods.teachers.pretrain import Pretrain
from fewstep.tests.pretended import CUDA, MeetingError, PretendedAccelerator, pretended_gpu

CASES = {
    "bespoke": {"trajectories": 16, "nodes": 5, "tolerance": 0.1, "select": "best-rmse", "select_samples": 8},
    "boot": {},
    "consistency": {},
    "consistency: radam, searched": {"optimizer": "radam", "levels": "searched", "search_samples": 8},
    "consistency-training": {},
    "consistency-training: ict": {"variant": {"name": "ict"}},
    "consistency-training: ect": {"variant": {"name": "ect"}},
    "d-ode": {"scale": 4},
    "d-ode: deis": {"scale": 4, "solver": "deis-tab2"},
    "dfno": {"solver_nfe": 4},
    "diff-instruct": {},
    "dmd": {"regression": 1.0, "solver_nfe": 2, "gradient_clip": 1.0, "accumulate": 2},
    "iia": {"substeps": 2},
    "knowledge": {"solver_nfe": 4},
    "knowledge: lte": {"loss": "lte", "steps": 2, "truth": {"trajectories": 16, "nodes": 5, "tolerance": 0.1}},
    "progressive": {"start_steps": 4, "gradient_clip": 1.0},
    "progressive: vp": {"start_steps": 4, "path": "vp-cosine"},
    "rectified-flow": {"solver_nfe": 4, "distil": 1},
    "sid": {},
    "sim": {},
    "tract": {"teacher_steps": 8, "phases": (4, 1)},
}
TRAINED = sorted(name for name, spec in METHODS.items() if spec.trains)
ADAPTIVE = ("rk45.py", "ground_truth.py", "search_next", "probe", "keep_the_best", "least_squares", "d_ode.py")
"""What adapts to the values that it finds waits for them, in few steps of a run: true paths, searches and fits."""
RUN = 2 * STEPS


def test_every_trained_method_has_a_case():
    assert sorted({case.partition(":")[0] for case in CASES}) == TRAINED


def made(case, conditional):
    spec = METHODS[case.partition(":")[0]]
    given = {"batch": 8, **CASES[case]} if "batch" in spec.options.model_fields else CASES[case]
    options, data = spec.options.model_validate(given), setup.load_data("mixture-2d")
    nfe = next(n for n in range(3 if spec.per_nfe else 1, 20) if spec.refusal(n, options) is None)
    teacher = setup.teacher(data, conditional and spec.conditional)
    method = setup.method(spec, options, teacher, nfe if spec.per_nfe else None)
    method.quality = lambda x0: float(x0.double().std())
    return method, data, nfe


def trained(module, data, folder, steps, device="cpu"):
    ledger = Ledger(steps * module.batch_size, "images", 1.0)
    fit(module, data, 0, ledger, folder, NoTracker(), device=device)
    return ledger


def assert_nearly_the_same(twin, method):
    """On a GPU one time for all samples is a tensor, on the CPU a number: that rounds otherwise."""
    state = method.to("cpu").result().state_dict()
    for name, value in twin.result().state_dict().items():
        if isinstance(value, torch.Tensor):
            found = state[name].detach().as_subclass(torch.Tensor)
            torch.testing.assert_close(found, value, rtol=1e-2, atol=1e-3, equal_nan=True)


@pytest.mark.parametrize("case", CASES)
def test_training_waits_for_the_gpu_once_in_ten_steps(case, tmp_path, monkeypatch):
    """And ends with the weights of the CPU but for rounding. With labels where the method takes them."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    (method, data, nfe), (twin, _, _) = made(case, True), made(case, True)
    with pretended_gpu() as waits:
        ledger = trained(method, data, tmp_path, RUN, PretendedAccelerator())
        found = {place: n for place, n in waits.items() if not any(name in place for name in ADAPTIVE)}
        assert sum(found.values()) <= 1 + ledger.steps // STEPS, found
        method.to(CUDA).eval()
        waits.clear()
        make = sampler(method, 0, nfe, data.shape)
        with torch.no_grad():
            assert make(range(4)).device == CUDA
        assert len([place for place in waits if "/solvers/" in place]) == 0, waits
    trained(twin, data, tmp_path, RUN)
    assert_nearly_the_same(twin, method)


def test_a_checkpoint_of_a_gpu_is_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    (method, data, _), (twin, _, _) = made("progressive", False), made("progressive", False)

    class Killed(NoTracker):
        def look(self, step, share):
            if step == 12:
                raise KeyboardInterrupt

    with pretended_gpu():
        budget = RUN * method.batch_size
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fit(method, data, 0, Ledger(budget, "images", 1.0), tmp_path, Killed(), device=PretendedAccelerator())
        assert (tmp_path / loop.CHECKPOINT).exists()
        resumed, _, _ = made("progressive", False)
        ledger = trained(resumed, data, tmp_path, RUN, PretendedAccelerator())
    assert ledger.steps == RUN
    whole = trained(twin, data, tmp_path, RUN)
    assert ledger.uses == whole.uses
    assert_nearly_the_same(twin, resumed)


@pytest.mark.parametrize("dropout", [None, 0.1])
def test_teachers_train_on_a_gpu(dropout, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    data = setup.load_data("digits")
    network = UNetOptions(channels=8, multipliers=(1, 2))
    module = Pretrain(PretrainOptions(network=network, batch=8, images=100, label_dropout=dropout), data.shape, 10)
    with pretended_gpu() as waits:
        ledger = trained(module, data, tmp_path, STEPS, PretendedAccelerator())
        assert waits.total() <= 1 + ledger.steps // STEPS, waits


def test_feature_networks_train_and_measure_on_a_gpu(tmp_path, monkeypatch):
    """From images to distances. Features leave the GPU once a batch."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    data = setup.load_data("digits")
    module = ClassifierTraining(DATASETS["digits"].recipe())
    x0 = data.samples(torch.arange(64))
    with pretended_gpu() as waits:
        trained(module, data, tmp_path, 3, PretendedAccelerator())
        classifier = module.classifier.to("cuda").eval()
        waits.clear()
        found = extractor.features(classifier, x0)
        assert sum(n for place, n in waits.items() if not place.startswith("sending")) == 1
        assert extractor.logits(classifier, found).device.type == "cpu"
        network = Projection("clean").to("cuda")
        images = (x0 * 127.5 + 128).clamp(0, 255).to(torch.uint8)
        features = {name: value.cpu() for name, value in network(images).items()}
    assert frechet_distance(found[:32], found[32:]) > 0
    assert manifold_scores(found[:32], found[32:], k=3).precision <= 1
    assert all(value.device.type == "cpu" for value in features.values())


def test_the_truth_is_solved_on_a_gpu():
    """Its steps adapt: it waits for their errors."""
    data = setup.load_data("mixture-2d")
    teacher, start = setup.teacher(data), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    expected = AdaptiveSolver(1e-2).sample(teacher, start)
    with pretended_gpu():
        found = AdaptiveSolver(1e-2).sample(teacher.to("cuda"), start.to("cuda"))
        assert found.device == CUDA
        assert torch.equal(found.cpu(), expected)


def test_prompts_are_looked_up_once_for_all_steps_of_a_solver(tmp_path):
    encoded = Encoded(tokens=torch.randn(3, 2, 4), pooled=torch.randn(3, 4))
    table = write(tmp_path / "prompts.safetensors", [encoded], 3, "encoder@1")
    with pretended_gpu() as waits:
        rows = torch.tensor([2, 0]).to("cuda", non_blocking=True)
        first, null = table.at(rows), table.at(table.nulls(2, CUDA))
        assert first.tokens.device == null.tokens.device == CUDA
        waits.clear()
        for _ in range(3):
            assert table.at(rows) is first
            assert table.at(table.nulls(2, CUDA)) is null
        assert waits.total() == 0
        rows.copy_(torch.tensor([1, 1]))
        assert torch.equal(table.at(rows).pooled.cpu(), encoded.pooled[[1, 1]])


def test_the_pretended_gpu_sees_meetings_and_waits():
    with pretended_gpu() as waits:
        there, here = torch.ones(3).to("cuda", non_blocking=True), torch.ones(3)
        for meet in (lambda: there + here, lambda: torch.stack([there, here]), lambda: here.mul_(there.sum())):
            with pytest.raises(MeetingError):
                meet()
        with pytest.raises(MeetingError, match="generator"):
            torch.randn(2, device="cuda", generator=torch.Generator())
        assert waits.total() == 0
        reads = (float, bool, torch.Tensor.tolist, torch.Tensor.cpu, lambda x: here.to(x.device))
        for number, read in enumerate(reads, 1):
            read(there.sum())
            assert waits.total() == number
