"""Progressive distillation as it runs: phases, costs, kills, sampling, and what it reaches."""

from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench.training import loop as training
from fewstep.methods import registry, solvers
from fewstep.methods.denoiser import EDMDenoiser, NetworkDenoiser, metered
from fewstep.methods.distillation.progressive import Progressive, progressive_loss, sampler, step_times
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, VPCosine
from fewstep.methods.randomness import generator, noise
from fewstep.methods.specs.progressive import ProgressiveOptions
from fewstep.tests.methods import killing, toy2d

PATHS = {"edm": EDM(), "vp-cosine": VPCosine()}

START = noise(0, "start", range(2000), (2,))


def small(**options) -> ProgressiveOptions:
    return ProgressiveOptions(**{"start_steps": 8, "batch": 8, **options})


def batch(step=0, size=8):
    return {"step": step, "x0": torch.randn(size, 2, generator=torch.Generator().manual_seed(step)), "labels": None}


def test_the_phases_divide_the_budget_as_declared():
    default = ProgressiveOptions(start_steps=32)
    assert default.steps == (16, 8, 4, 2, 1)
    assert default.ends == pytest.approx((1 / 8, 2 / 8, 3 / 8, 5 / 8, 1))
    paper = ProgressiveOptions(start_steps=16, last_shares=(2, 2))
    assert paper.ends == pytest.approx((1 / 6, 2 / 6, 4 / 6, 1))
    assert ProgressiveOptions(start_steps=16, last_steps=4, last_shares=()).ends == pytest.approx((0.5, 1))
    assert ProgressiveOptions(start_steps=2).ends == (1,)


@pytest.mark.parametrize("wrong", [{"start_steps": 12}, {"last_steps": 32}, {"last_steps": 3}])
def test_steps_that_do_not_halve_are_refused(wrong):
    with pytest.raises(ValidationError, match="doubled one or more times"):
        ProgressiveOptions(**wrong)


def test_the_teacher_of_a_phase_is_the_student_before():
    method = Progressive(killing.small_teacher(), small())
    for parameter in method.student_of(4).parameters():
        parameter.data.add_(0.3)
    losses = []
    for phase, (steps, teacher) in enumerate([(4, method.teacher), (2, method.student_of(4))]):
        method.phase.fill_(phase)
        loss = method.training_step(batch(), 0)
        rng = generator(method.seed, "train", 0)
        index = torch.randint(steps, (8,), generator=rng)
        eps = torch.randn(8, 2, generator=rng)
        times = step_times(method.path, "edm", steps, index)
        expected = progressive_loss(method.student, teacher, batch()["x0"], eps, *times, "karras", 0.75).mean()
        assert torch.equal(loss, expected)
        losses.append(loss)
    assert losses[0] != losses[1]


def test_only_the_student_gets_gradients():
    method = Progressive(killing.small_teacher(), small())
    method.training_step(batch(), 0).backward()
    assert any(p.grad.abs().sum() > 0 for p in method.student.parameters())
    assert all(p.grad is None for p in [*method.teacher.parameters(), *method.averages.parameters()])
    assert not any("teacher" in name for name in method.state_dict())


class Watched(Progressive):
    """Notes, before each optimiser step: the phase, Adam's own step count, the learning rate."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.seen, self.starts = [], []

    def on_train_batch_start(self, batch, batch_idx):
        before = int(self.phase)
        super().on_train_batch_start(batch, batch_idx)
        if int(self.phase) != before:
            own, taught = self.student.state_dict(), self.student_of(self.options.steps[before]).state_dict()
            self.starts.append(all(torch.equal(own[key], taught[key]) for key in own))

    def on_before_optimizer_step(self, optimizer):
        count = max((int(state["step"]) for state in optimizer.state.values()), default=0)
        self.seen.append((int(self.phase), count, optimizer.param_groups[0]["lr"]))
        super().on_before_optimizer_step(optimizer)


def test_every_phase_starts_from_its_teacher_with_a_fresh_optimiser_and_anneals_to_zero(tmp_path):
    method = Watched(killing.small_teacher(), small(learning_rate=1e-2))
    killing.train(method, 2000, tmp_path)
    assert method.starts == [True, True]
    for phase in (0, 1, 2):
        counts, rates = zip(*[(count, rate) for at, count, rate in method.seen if at == phase], strict=True)
        assert list(counts) == list(range(len(counts)))
        assert rates[0] == pytest.approx(1e-2, rel=1.1 / len(rates))
        assert all(later < earlier for earlier, later in pairwise(rates))
        assert rates[-1] < 1e-2 * 1.1 / len(rates)


def test_each_students_cost_is_what_was_spent_when_its_phase_ended(tmp_path):
    method = Progressive(killing.small_teacher(), small())
    ledger = killing.train(method, 2000, tmp_path)
    step = ledger.evaluations / ledger.steps
    assert list(ledger.students) == ["4", "2"]
    for nfe, end in zip(("4", "2"), method.options.ends, strict=False):
        spent = ledger.students[nfe]
        assert 0 <= spent["evaluations"] - 2000 * end < step
        assert spent["flops"] == pytest.approx(spent["steps"] * ledger.flops / ledger.steps)
        assert sum(spent["uses"].values()) == pytest.approx(spent["flops"])
        assert spent["seconds"] < ledger.seconds


KILLED = {"budget": 750.0, "options": small(path="vp-cosine")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    method = Progressive(killing.small_teacher(), KILLED["options"])
    return method, killing.train(method, KILLED["budget"], tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(("kill", "phase"), [(2, 0), (4, 0), (5, 1), (7, 1), (14, 2)])
def test_a_killed_run_resumed_equals_an_undisturbed_one(undisturbed, tmp_path, monkeypatch, kill, phase):
    """Killed in each phase, and on both sides of a border: 19 steps, phases of 4, 6 and 9."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    method, expected = undisturbed
    killed, resumed = (Progressive(killing.small_teacher(), KILLED["options"]) for _ in range(2))
    with pytest.raises(killing.Killed):
        killing.train(killed, KILLED["budget"], tmp_path, kill)
    assert int(killed.phase) == phase
    ledger = killing.train(resumed, KILLED["budget"], tmp_path)
    assert killing.same(method, resumed)
    assert (ledger.flops, ledger.images, ledger.steps) == (expected.flops, expected.images, expected.steps)
    assert ledger.students.keys() == expected.students.keys()
    for nfe, spent in ledger.students.items():
        assert {**spent, "seconds": 0} == {**expected.students[nfe], "seconds": 0}


@pytest.mark.parametrize("path", PATHS)
def test_the_ledger_equals_a_flop_counter_around_the_whole_run(tmp_path, path):
    """And per sample: the teacher's two forwards, the student's one, its backward as two."""
    method = Progressive(killing.small_unet(), small(path=path))
    with FlopCounterMode(display=False) as counter:
        ledger = killing.train(method, 500, tmp_path, data=datasets.get("digits"))
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    per_sample = {use: flops / ledger.flops_per_evaluation / ledger.images for use, flops in ledger.uses.items()}
    assert per_sample == pytest.approx({"teacher": 2, "student forward": 1, "student backward": 2}, rel=0.02)
    assert ledger.evaluations / ledger.images == pytest.approx(5, rel=0.02)


@pytest.mark.parametrize("budget", [333.0, 1000.0])
def test_training_stops_within_one_step_of_the_budget_and_never_above(tmp_path, budget):
    ledger = killing.train(Progressive(killing.small_teacher(), small()), budget, tmp_path)
    assert budget - ledger.evaluations / ledger.steps < ledger.evaluations <= budget


@pytest.mark.parametrize("budget", [45.0, 130.0])
def test_a_budget_too_small_for_every_phase_is_told_by_the_student_that_goes_without(tmp_path, budget):
    with pytest.raises(ValueError, match=r"no step to train the \d-step student: raise the budget"):
        killing.train(Progressive(killing.small_teacher(), small(start_steps=32)), budget, tmp_path)


def test_seeds_determine_the_run(tmp_path):
    runs = [Progressive(killing.small_teacher(), small(), seed=seed) for seed in (0, 0, 1)]
    for i, method in enumerate(runs):
        killing.train(method, 600, tmp_path / str(i))
    assert killing.same(runs[0], runs[1])
    assert not killing.same(runs[0], runs[2])


def test_gradients_are_clipped_where_asked():
    for clip in (None, 1e-3):
        method = Progressive(killing.small_teacher(), small(gradient_clip=clip))
        method.training_step(batch(), 0).backward()
        method.on_before_optimizer_step(method.configure_optimizers())
        norm = torch.stack([p.grad.norm() for p in method.student.parameters() if p.grad is not None]).norm()
        assert (norm <= 1.001e-3) == (clip is not None)


def test_students_and_their_teachers_run_without_dropout():
    """The teacher's answers do not change from call to call, and the paper's students have no dropout."""
    network = nn.Sequential(nn.Dropout(0.5))

    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.drop = nn.Parameter(torch.ones(())), network

        def forward(self, x, t, condition):
            return self.scale * self.drop(x)

    method = Progressive(NetworkDenoiser(Dropping(), VPCosine(), "v"), small(path="vp-cosine", weight="snr+1")).train()
    for phase in (0, 1):
        method.phase.fill_(phase)
        assert torch.equal(method.training_step(batch(), 0), method.training_step(batch(), 0))


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_each_student_samples_at_its_own_nfe(nfe):
    method = Progressive(killing.small_teacher(), small()).eval()
    for n in method.options.steps:
        for parameter in method.student_of(n).parameters():
            parameter.data.add_(0.01 * n)
    with metered() as meter:
        x = method.sample(START[:5], nfe)
    assert meter.evaluations == 5 * nfe
    torch.testing.assert_close(x, sampler("edm").sample(method.student_of(nfe), START[:5], nfe=nfe))
    others = [sampler("edm").sample(method.student_of(n), START[:5], nfe=nfe) for n in method.options.steps if n != nfe]
    assert not any(torch.allclose(x, other) for other in others)


@pytest.mark.parametrize("nfe", [3, 8, 16])
def test_an_nfe_that_is_no_halving_is_refused_with_the_students_there_are(nfe):
    reason = "students of 4, 2, 1 evaluations and no other"
    with pytest.raises(UnreachableNFE, match=reason):
        Progressive(killing.small_teacher(), small()).sample(START[:2], nfe)
    assert reason in (registry.method("progressive").refusal(nfe, small()) or "")


def test_x0_is_clamped_to_the_range_of_images_and_not_where_data_have_none(tmp_path):
    """The mixture reaches beyond 1: its students must too."""
    assert float(datasets.get("mixture-2d").samples(torch.arange(1000)).abs().max()) > 1.3
    teacher = EDMDenoiser(killing.small_teacher().network, 0.75, EDM(0.01, 40.0))
    for bound, clip, largest in ((1.0, True, 1.0), (1.0, False, None), (None, True, None)):
        teacher.sample_bound = bound
        x = Progressive(teacher, small(clip_x0=clip)).sample(3 * START[:200], nfe=1)
        assert (x.abs().max() == largest) if largest else (x.abs().max() > 1)
    assert datasets.get("digits").bound == datasets.get("digits").samples(torch.arange(50)).abs().max() == 1
    assert datasets.get("mixture-2d").bound is None


def test_a_teacher_that_cannot_be_copied_is_refused():
    with pytest.raises(ValueError, match="needs a network"):
        Progressive(toy2d.exact(), small())
    network = NetworkDenoiser(nn.Identity(), VPCosine(), "v")
    with pytest.raises(ValueError, match="choose truncated-snr"):
        Progressive(network, small(path="vp-cosine"))


@pytest.fixture(scope="module", params=PATHS)
def distilled(request, tmp_path_factory):
    method = Progressive(
        toy2d.teacher(), ProgressiveOptions(path=request.param, batch=256, start_steps=32, learning_rate=1e-3)
    )
    ledger = toy2d.train(method, 150_000, tmp_path_factory.mktemp("toy"))
    return method, ledger


def test_few_steps_of_the_2d_mixture_are_learnt_within_the_budget(distilled):
    """Euler with the exact denoiser is at 0.7 in one step; two sets of data are at 0.03."""
    method, ledger = distilled
    euler = solvers.get("euler", grid={"end": "append-zero"})
    assert toy2d.swd(euler.sample(toy2d.exact(), START, nfe=1)) > 0.65
    assert ledger.evaluations <= 150_000
    distance = {n: toy2d.swd(method.sample(START, n)) for n in (1, 2, 4, 8, 16)}
    assert distance[1] < 0.15
    assert distance[2] < 0.12
    assert distance[4] < 0.12
    assert distance[8] < 0.07
    for n in (1, 2, 4, 8):
        assert distance[n] < 0.7 * toy2d.swd(euler.sample(toy2d.exact(), START, nfe=n))


def test_students_follow_the_teachers_own_trajectories(distilled):
    """The one-step student ends near the teacher's 32 DDIM steps from the same noise."""
    method, _ = distilled
    path = method.path
    expected = sampler(method.options.path).sample(method.teacher.on(path), START, nfe=32)
    error = (method.sample(START, 1) - expected).square().mean(1).sqrt().mean()
    spread = (expected - expected.roll(1, 0)).square().mean(1).sqrt().mean()
    assert error < 0.15 * spread
