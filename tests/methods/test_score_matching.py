"""Training of SIM, SiD, Diff-Instruct and DMD: what alternates, what it costs, where it ends, how it fails."""

import copy
import math

import pytest
import torch
from torch import nn

from fewstep import datasets
from fewstep.bench.training import loop as training
from fewstep.bench.training.ledger import Ledger
from fewstep.bench.training.loop import DivergedError, fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods import registry, solvers
from fewstep.methods.denoiser import EDMDenoiser, Guided
from fewstep.methods.distillation.score_matching import FAKE, GENERATOR
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, expand
from fewstep.methods.randomness import noise
from fewstep.methods.specs.dmd import DMDOptions
from fewstep.methods.specs.sim import SIMOptions
from fewstep.tests.methods import killing, toy2d

NAMES = ("sim", "sid", "diff-instruct", "dmd")
CYCLE = {"sim": (4, 7), "sid": (4, 7), "diff-instruct": (4, 5), "dmd": (4, 5)}
"""Evaluations per sample of an update of the fake score and of one of the student: section 2 of the cost table."""


def build(name, teacher=None, seed=0, **options):
    spec = registry.method(name)
    return spec.load()(teacher or killing.small_teacher(), spec.options(**options), seed=seed)


class Affine(EDMDenoiser):
    """The denoiser of N(mean, e^(2 log_std)), whose two parameters are learned: the score of any such Gaussian."""

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__(nn.Identity(), 1.0, EDM(0.01, 20.0))
        self.mean = nn.Parameter(torch.tensor(mean))
        self.log_std = nn.Parameter(torch.tensor(std).log())
        self.sample_shape = (2,)

    def denoise(self, x, t, condition):
        variance = (2 * self.log_std).exp()
        return self.mean + variance / (variance + expand(t, x) ** 2) * (x - self.mean)


@pytest.mark.parametrize(
    ("name", "options"),
    [("sim", {"distance": "l2"}), ("sim", {"c": 0.1}), ("sid", {}), ("diff-instruct", {}), ("dmd", {})],
    ids=["l2", "pseudo-huber", "sid", "diff-instruct", "dmd"],
)
def test_the_fixed_point_on_a_gaussian_is_the_teachers_distribution(name, options, tmp_path):
    """SI-7: an affine student whose first samples have a fifth of the spread and another mean reaches the data's.

    Its start, the teacher's own parameters read as a map, has mean m 6.25/(6.25 + v) and std 2.5 v/(6.25 + v).
    """
    teacher = Affine([0.4, -0.3], [0.6, 0.9]).requires_grad_(False)
    mean, std = teacher.mean.clone(), teacher.log_std.exp()
    given = {"learning_rate": 1e-2, "fake_learning_rate": 3e-2, "betas": (0.0, 0.999), "batch": 256, "warm_up": 0.0}
    given |= {"sigma_init": 2.5, "log_sigma_mean": -0.5, "log_sigma_std": 1.0, "fake_updates": 1}
    method = build(name, teacher, **given | options)
    ledger = Ledger(256 * 2 * 600, "images", 1.0)
    fit(method, toy2d.DATA, 0, ledger, tmp_path, NoTracker())
    x0 = method.sample(noise(1, "start", range(20_000), (2,)), 1)
    torch.testing.assert_close(x0.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(x0.var(0), std**2, rtol=0.08, atol=0)


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in NAMES), ("sim", {"distance": "l2"})])
def test_one_step_gives_the_mixture(name, options, tmp_path):
    """Below 0.15 at 150,000 evaluations, where one step of Euler is at 0.707; every mode is reached."""
    method = build(name, toy2d.teacher(), batch=256, **options)
    toy2d.train(method, 150_000, tmp_path)
    x0 = method.sample(noise(1, "start", range(8000), (2,)), 1)
    assert toy2d.swd(x0) < 0.15
    angle = torch.atan2(x0[:, 1], x0[:, 0])
    counts = torch.histc((angle / (2 * math.pi) + 1 / 16) % 1, 8, 0, 1) / len(x0)
    assert counts.min() > 0.03


@pytest.mark.parametrize("name", NAMES)
def test_a_cycle_costs_what_the_cost_table_says(name, tmp_path):
    """SIM: 11 evaluations a cycle, Diff-Instruct 9. On a UNet, whose first and last layers weigh little."""
    teacher = killing.small_unet()
    method = build(name, teacher, batch=4, warm_up=0.0)
    ledger = killing.train(method, 4 * 40, tmp_path, data=datasets.get("digits"))
    cost = {kind: flops / ledger.flops_per_evaluation / 4 for kind, flops in ledger.step_flops.items()}
    assert (cost[FAKE], cost[GENERATOR]) == pytest.approx(CYCLE[name], rel=0.02)
    assert set(ledger.step_uses[FAKE]) == {"auxiliary"}
    forwards = {"auxiliary": 1, "teacher": 1, "student forward": 1, "student backward": CYCLE[name][1] - 3}
    uses = {use: flops / ledger.flops_per_evaluation / 4 for use, flops in ledger.step_uses[GENERATOR].items()}
    assert uses == pytest.approx(forwards, rel=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_each_step_changes_one_network(name, tmp_path):
    """M-3: the student's step leaves the fake score as it was, gradient and all, and the other way round.

    The average follows the student's steps alone.
    """
    method = build(name, batch=8, warm_up=0.0)
    seen = []
    step = type(method).training_step

    def watched(batch, batch_idx):
        before = [copy.deepcopy(net.state_dict()) for net in (method.student, method.fake)]
        loss = step(method, batch, batch_idx)
        after = [net.state_dict() for net in (method.student, method.fake)]
        moved = [any(not torch.equal(a[k], b[k]) for k in a) for a, b in zip(after, before, strict=True)]
        clean = all(p.grad is None for p in method.parameters())
        seen.append((method.step_kind(int(batch["step"])), moved, clean))
        return loss

    method.training_step = watched
    killing.train(method, 1500, tmp_path)
    assert {kind for kind, *_ in seen} == {FAKE, GENERATOR}
    assert int(method.average.n_averaged) == sum(kind == GENERATOR for kind, *_ in seen)
    for kind, moved, clean in seen:
        assert moved == [kind == GENERATOR, kind == FAKE]
        assert clean


def test_updates_come_in_the_declared_order():
    """Fake before student; `warm_up` of the budget is the fake's alone; DMD2 has five to one."""
    method = build("sim", warm_up=0.1)
    assert [method.step_kind(step) for step in range(4)] == [FAKE] * 4
    method.spent = 0.1
    assert [method.step_kind(step) for step in range(4)] == [FAKE, GENERATOR] * 2
    five = build("dmd", warm_up=0.0, fake_updates=5)
    assert [five.step_kind(step) for step in range(12)] == ([FAKE] * 5 + [GENERATOR]) * 2


@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in NAMES), ("dmd", {"regression": 0.25})])
def test_accumulated_gradients_make_the_same_update(name, options, tmp_path):
    """Four parts of a batch of 16 end where the whole batch does, but for rounding; and are charged the same."""
    runs = []
    for parts in (1, 4):
        method = build(name, batch=16, accumulate=parts, warm_up=0.0, **options)
        ledger = killing.train(method, 3000, tmp_path / str(parts))
        runs.append((method.result().state_dict(), ledger))
    (whole, one), (parts, four) = runs
    for key in whole:
        torch.testing.assert_close(whole[key], parts[key], rtol=1e-3, atol=2e-4)
    assert one.flops == pytest.approx(four.flops)
    assert max(four.peak_bytes.values()) <= max(one.peak_bytes.values())


def test_the_pairs_of_dmds_regression_are_charged(tmp_path):
    """16 evaluations a pair, and 3 for each sample that is regressed on."""
    options = {"regression": 0.25, "batch": 8, "warm_up": 0.0}
    method = build("dmd", **options)
    ledger = killing.train(method, 6000, tmp_path)
    assert ledger.uses["pairs"] / ledger.flops_per_evaluation == pytest.approx(16 * len(method.pairs))
    plain = killing.train(build("dmd", **options | {"regression": 0.0}), 6000, tmp_path / "plain")
    more = (ledger.step_flops[GENERATOR] - plain.step_flops[GENERATOR]) / 8 / ledger.flops_per_evaluation
    assert more == pytest.approx(3, rel=0.1)
    assert "pairs" not in plain.uses


def test_a_killed_run_with_pairs_resumes_to_the_same_student(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    options = {"regression": 0.25, "batch": 8}
    undisturbed, resumed = build("dmd", **options), build("dmd", **options)
    expected = killing.train(undisturbed, 6000, tmp_path / "a")
    with pytest.raises(killing.Killed):
        killing.train(build("dmd", **options), 6000, tmp_path / "b", kill=expected.steps // 2)
    ledger = killing.train(resumed, 6000, tmp_path / "b")
    assert killing.same(resumed, undisturbed)
    assert ledger.uses == expected.uses


def test_pairs_lead_the_student_to_the_teachers_own_samples(tmp_path):
    """After as many updates, a student with regression is nearer to the ODE's solution from the same noise."""
    start = noise(1, "start", range(2000), (2,))
    solution = solvers.get("heun").sample(toy2d.teacher(), start, nfe=35)
    errors = []
    for weight in (0.0, 100.0):
        method = build("dmd", toy2d.teacher(), batch=256, regression=weight)
        fit(method, toy2d.DATA, 0, Ledger(256 * 120, "images", 1.0), tmp_path / str(weight), NoTracker())
        errors.append(float((method.sample(start, 1) - solution).square().mean().sqrt()))
    assert errors[1] < 0.7 * errors[0]


def test_the_teachers_guidance_is_what_is_distilled():
    """Only the teacher is guided: the fake score and the student are one forward each, told the labels."""
    teacher = Guided(killing.small_teacher(classes=3), 2.0)
    method = build("sim", teacher, batch=4)
    assert type(method.fake) is type(method.student) is EDMDenoiser
    assert method.teacher is teacher


def test_another_nfe_than_one_is_refused():
    for name in NAMES:
        assert "NFE 1 only" in registry.method(name).refusal(2)
        with pytest.raises(UnreachableNFE, match="NFE 1 only"):
            build(name).sample(torch.zeros(2, 2), 2)


def test_the_student_starts_as_the_teacher_read_at_sigma_init():
    teacher, z = killing.small_teacher(), noise(0, "start", range(4), (2,))
    assert torch.equal(build("sim", teacher).sample(z, 1), teacher(2.5 * z, 2.5))
    largest = teacher.path.t_max
    assert torch.equal(build("dmd", teacher, sigma_init=None).sample(z, 1), teacher(largest * z, largest))


def test_an_exploding_student_ends_as_diverged_with_its_step(tmp_path):
    with pytest.raises(DivergedError, match=r"(times the data's spread|not finite) at step \d+"):
        killing.train(build("sim", batch=8, learning_rate=1e3, gradient_clip=None), 4000, tmp_path)


def test_a_student_of_one_sample_ends_as_collapsed(tmp_path):
    """A student that has come to ignore its noise is told from one that has not, in the budget's second half."""
    method = build("sim", batch=8)
    generate = method.generate
    method.generate = lambda student, z, labels=None: generate(student, z, labels).mean(0, keepdim=True).expand_as(z)
    with pytest.raises(DivergedError, match=r"collapsed: .* at step (\d+)") as raised:
        killing.train(method, 4000, tmp_path)
    assert raised.value.step > 20


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="generator_levels: give two shares"):
        SIMOptions(generator_levels=(0.5, 0.2))
    with pytest.raises(ValueError, match="accumulate: 3 does not divide the batch of 64"):
        SIMOptions(accumulate=3)
    with pytest.raises(ValueError, match="odd NFE only"):
        DMDOptions(solver="heun", solver_nfe=16)
