"""Every step is metered: it costs what its kind costs, and it is stopped where the budget ends."""

import time
from contextlib import nullcontext

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.errors import TaskError
from fewstep.bench.training import ledger as ledgers
from fewstep.bench.training import loop
from fewstep.bench.training.ledger import Ledger
from fewstep.bench.training.step_meter import WHOLE, is_checked
from fewstep.methods import registry
from fewstep.methods.denoiser import from_function, metered
from fewstep.methods.distillation.consistency import Consistency
from fewstep.methods.errors import IntegrationError
from fewstep.methods.learned_solvers.bespoke import Bespoke
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import generator
from fewstep.methods.specs.bespoke import BespokeOptions
from fewstep.methods.specs.consistency import ConsistencyOptions
from fewstep.methods.specs.teachers.pretrain import PretrainOptions
from fewstep.methods.teachers.pretrain import Pretrain
from fewstep.tests.methods import killing
from fewstep.tests.methods.test_distillation_properties import build

CURE = r"give steps that cost differently different kinds \(`step_kind`\)"


class Uneven(Consistency):
    """A consistency student that makes its teacher work `harder` in some steps."""

    def __init__(self, harder, kind=lambda step: "step"):
        super().__init__(killing.small_teacher(), ConsistencyOptions(batch=8))
        self.harder, self.kind = harder, kind

    def step_kind(self, step):
        return self.kind(step)

    def training_step(self, batch, batch_idx):
        self.harder(self.teacher, batch)
        return super().training_step(batch, batch_idx)

    def learning_rate_factor(self, step, spent):
        return 1.0


def from_step(first, times):
    """Evaluates the teacher `times` more from step `first` on."""

    def harder(teacher, batch):
        for _ in range(times if batch["step"] >= first else 0):
            teacher(batch["x0"], 1.0)

    return harder


def probe(ledger):
    """The FLOPs by which killing.train finds the unit: a forward of two samples."""
    return 2 * ledger.flops_per_evaluation


def test_a_step_that_takes_more_forwards_than_its_kind_fails_while_it_runs(tmp_path):
    """The first 16 take 4 x 8: two of Heun's, the target's, the student's. The 17th would take 4,000 x 8."""
    with metered() as meter, pytest.raises(TaskError, match=rf"step 17: a 'step' took .*, the first took 32: {CURE}"):
        killing.train(Uneven(from_step(16, 4000)), 1e6, tmp_path)
    assert meter.forwards < 20 * 32


def test_a_step_that_takes_fewer_forwards_than_its_kind_fails_too(tmp_path):
    def easier(teacher, batch):
        if batch["step"] == 0:
            teacher(batch["x0"], 1.0)

    with pytest.raises(TaskError, match="step 2: a 'step' took 32 forwards, the first took 40"):
        killing.train(Uneven(easier), 1e6, tmp_path)


def test_steps_that_cost_differently_may_be_of_different_kinds(tmp_path):
    """The ledger is then a FLOP counter around the whole run."""
    method = Uneven(from_step(3, 5), kind=lambda step: "step" if step < 3 else "harder step")
    with FlopCounterMode(display=False) as counter:
        ledger = killing.train(method, 1000, tmp_path)
    assert ledger.flops == counter.get_total_flops() - probe(ledger)
    assert ledger.kind_steps["step"] == 3
    assert ledger.kind_forwards["harder step"] == ledger.kind_steps["harder step"] * (4 + 5) * 8


@pytest.mark.parametrize("first", [2, 5, 60])
def test_work_outside_denoisers_is_found_by_measuring_flops_again(tmp_path, first):
    """A raw network that steps run from the third, the sixth or the sixty-first on: no meter sees its forwards."""

    def harder(teacher, batch):
        if batch["step"] >= first:
            teacher.network(batch["x0"], torch.zeros(8), None)

    with pytest.raises(TaskError, match=rf"a 'step' took .* FLOPs, the first took .*: {CURE}"):
        killing.train(Uneven(harder), 1e5, tmp_path)


def test_which_steps_are_measured_again_depends_on_the_seed_and_favours_the_early_ones():
    steps = {seed: [step for step in range(1, 5000) if is_checked(seed, step, step)] for seed in range(20)}
    assert len({tuple(found) for found in steps.values()}) == 20
    assert all(found == [step for step in range(1, 5000) if is_checked(s, step, step)] for s, found in steps.items())
    early = sum(step < 100 for found in steps.values() for step in found) / 20
    late = sum(step >= 100 for found in steps.values() for step in found) / 20
    assert 2 < early < 7
    assert 0.007 < late / 4900 < 0.013


@pytest.mark.parametrize("name", registry.of_kind("learned solver", "student"))
def test_every_trained_methods_steps_cost_exactly_what_their_kinds_cost(name, tmp_path, monkeypatch):
    """With the FLOPs of every step measured and nothing tolerated."""
    monkeypatch.setattr(loop, "is_checked", lambda seed, step, done: True)
    monkeypatch.setattr(ledgers, "TOLERANCE", 1e-9)
    spec = registry.method(name)
    ledger = killing.train(build(spec), 1500, tmp_path)
    assert ledger.steps >= 10 or name in ("d-ode", "iia", "consistency-training", "bespoke"), ledger.steps


def bespoke(teacher, budget, folder, **options):
    options = {"nodes": 9, "tolerance": 1e-4, "batch": 8, **options}
    method = Bespoke(teacher, BespokeOptions(**options), nfe=4)
    return method, killing.train(method, budget, folder)


def test_every_lot_of_true_paths_is_charged_what_it_took(tmp_path):
    """A lot of 8 and one of the other 16 of one adaptive solver: each has a cost, and the ledger is exact."""
    with FlopCounterMode(display=False) as counter:
        _, ledger = bespoke(killing.small_teacher(), 5000, tmp_path, trajectories=24, tolerance=1e-2)
    lots = [uses["ground truth"] for kind, uses in ledger.step_uses.items() if "true paths" in kind]
    assert len(set(lots)) == len(lots) == 2
    assert ledger.flops == counter.get_total_flops() - probe(ledger)
    assert set(ledger.peak_bytes) >= {"step", *[kind for kind in ledger.step_uses if "true paths 9" in kind]}


def stiff_teacher(rate):
    """x0 = -rate x: steps above about 3/rate are unstable, however smooth the solution is."""
    mixing = -rate * torch.eye(2, dtype=torch.float64)
    teacher = from_function(lambda x, t: (x.double() @ mixing).to(x.dtype), EDM(0.01, 40.0))
    teacher.sample_shape = (2,)
    return teacher


def test_ground_truth_that_runs_past_the_budget_is_stopped_there(tmp_path):
    """A stiff teacher's first lot would take half an hour: its first 2,000 evaluations take a moment.

    Beside them the meter around it all counts the unit's probe, the batch that went past, and the one refused.
    """
    started = time.process_time()
    message = r"out of budget: one step costs .* 2000 evaluations \('true paths 1 to 8, step', 100% for ground truth\)"
    with metered() as meter, pytest.raises(TaskError, match=message):
        bespoke(stiff_teacher(1e6), 2000, tmp_path, trajectories=8)
    assert 2000 <= meter.forwards <= 2 + 2000 + 8 + 8
    assert time.process_time() - started < 10


def test_ground_truth_that_cannot_be_integrated_says_where_it_stalls(tmp_path):
    with pytest.raises(IntegrationError, match=r"could not be integrated at noise level [0-9.e+-]+ \(sigma/alpha\)"):
        bespoke(stiff_teacher(1e9), 1e12, tmp_path, trajectories=8)


def unaffordable(first):
    """Steps before `first` are of one kind, and that one runs on and on."""
    return Uneven(from_step(first, 4000), kind=lambda step: "step" if step < first else "endless")


def test_a_step_that_runs_past_the_budget_leaves_the_weights_before_it(tmp_path):
    """It is charged up to the limit, within one batch of evaluations; the run is done."""
    endless, plain = unaffordable(5), Uneven(from_step(5, 0))
    exact = killing.train(plain, 5 * 8 * 6.0, tmp_path / "plain")
    with metered() as meter:
        ledger = killing.train(endless, 600, tmp_path / "endless")
    assert (ledger.steps, exact.steps) == (5, 5)
    assert killing.same(endless, plain)
    assert ledger.evaluations == pytest.approx(600)
    assert sum(ledger.uses.values()) == pytest.approx(ledger.flops)
    assert meter.forwards - 5 * 4 * 8 <= 600 - exact.evaluations + 2 * 8


def test_a_step_of_an_unknown_kind_is_not_begun_with_nothing_left():
    ledger = Ledger(100.0, "flops", 1.0, step_uses={"step": {"teacher": 50.0}})
    for _ in range(2):
        assert ledger.affords("step", 8)
        ledger.charge("step", 8, 0.1)
    assert not ledger.affords("another", 8)


def test_a_method_without_optimiser_is_nothing_until_it_is_finished(tmp_path):
    """D-ODE's targets without the fit are no student."""
    whole = killing.train(build(registry.method("d-ode")), 1e5, tmp_path / "whole")
    first = sum(next(iter(whole.step_uses.values())).values()) / whole.flops_per_evaluation
    with pytest.raises(TaskError, match=r"out of budget: one step costs .* \('fit'"):
        killing.train(build(registry.method("d-ode")), first + 4, tmp_path / "part")


def test_counts_of_forwards_survive_a_kill(tmp_path, monkeypatch):
    """A resumed run knows what the first step of a kind took."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(killing.Killed):
        killing.train(Uneven(from_step(8, 1)), 2000, tmp_path, kill=5)
    with pytest.raises(TaskError, match="step 9: a 'step' took 40 forwards or more, the first took 32"):
        killing.train(Uneven(from_step(8, 1)), 2000, tmp_path)


NETWORKS = {
    "unet": ({"name": "unet", "channels": 16, "multipliers": (1, 2)}, (1, 8, 8)),
    "mlp": ({"name": "mlp", "width": 16, "blocks": 2}, (2,)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_measured_again_is_the_same_to_the_bit(name):
    network, shape = NETWORKS[name]
    module = Pretrain(PretrainOptions.model_validate({"network": network}), shape, 0).train()
    rng = generator(0, "weights")
    for parameter in module.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    batch = {"x0": torch.randn(64, *shape, generator=rng), "labels": None, "step": 5}

    def gradients(mode):
        module.zero_grad()
        with mode:
            module.training_step(batch, 0).backward()
        return [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]

    plain = gradients(nullcontext())
    again = gradients(FlopCounterMode(display=False, custom_mapping=WHOLE))
    assert len(plain) > 3
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
