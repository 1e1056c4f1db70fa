"""Consistency training: schedules, levels, losses and samplers of CT, iCT and ECT."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench.training import loop as training
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods.denoiser import EDMDenoiser, metered
from fewstep.methods.distillation.consistency import ConsistencyFunction
from fewstep.methods.distillation.consistency_training import (
    ConsistencyTraining,
    ascending,
    clean_at_zero,
    ct_decay,
    ct_points,
    ect_r,
    ect_stage,
    ict_points,
    inverse_distance,
    lognormal_probabilities,
    training_loss,
)
from fewstep.methods.distillation.distances import l1, l2, pseudo_huber
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import noise
from fewstep.methods.specs.consistency_training import ConsistencyTrainingOptions
from fewstep.tests.methods import killing, toy2d
from fewstep.tests.methods.toy_networks import ToyNetwork

EXACT = {"rtol": 1e-6, "atol": 1e-9}


def gradient(loss, model):
    return torch.autograd.grad(loss.mean(), model.network.p)[0]


def prefixes(arrays, start, end):
    """Every x of an array named start + x + end."""
    found = [name.removesuffix(end) for name in arrays.names if name.startswith(start) and name.endswith(end)]
    assert found
    return found


def test_reference_schedule_of_ct(reference):
    """CM-7."""
    arrays = reference("distill/schedules")
    for case in prefixes(arrays, "ct_", "_N"):
        mu0, s0, s1, total = arrays[f"{case}_params"].tolist()
        steps = zip(*(arrays[f"{case}_{key}"].tolist() for key in ("k", "N", "mu_code", "mu_paper")), strict=True)
        for k, points, mu_code, mu_paper in steps:
            assert ct_points(k / total, int(s0), int(s1)) == points
            assert ct_decay(points, int(s0), mu0, "code") == pytest.approx(mu_code, rel=1e-9)
            assert ct_decay(points, int(s0), mu0, "paper") == pytest.approx(mu_paper, rel=1e-9)


def test_reference_schedule_of_ict(reference):
    """CM-7: the paper doubles every K' = floor(K/phases) iterations: the share of K' phases is ours."""
    arrays = reference("distill/schedules")
    for case in prefixes(arrays, "ict_", "_params"):
        s0, s1, total = (int(value) for value in arrays[f"{case}_params"])
        phases = math.log2(s1 // s0) + 1
        whole = math.floor(total / phases) * phases
        for k, points in zip(arrays[f"{case}_k"].tolist(), arrays[f"{case}_N"].tolist(), strict=True):
            assert ict_points(k / whole, s0, s1) == points


def test_reference_levels_and_weights_of_ict(reference):
    arrays = reference("distill/schedules")
    for name in prefixes(arrays, "ict_sigmas_", ""):
        points = int(name.rpartition("_")[2])
        levels = ascending(EDM(), points)
        torch.testing.assert_close(levels, arrays[name], **EXACT)
        torch.testing.assert_close(lognormal_probabilities(levels, -1.1, 2.0), arrays[f"ict_p_{points}"], **EXACT)
        torch.testing.assert_close(inverse_distance(levels[1:], levels[:-1]), arrays[f"ict_w_{points}"], **EXACT)


def test_reference_pseudo_huber_is_of_the_vector_norm(reference):
    """Not the mean of an element-wise one, as in some third-party code."""
    arrays = reference("distill/schedules")
    x, y = arrays["ph_x"], arrays["ph_y"]
    for c, vector, elementwise in zip(
        arrays["ph_c"].tolist(), arrays["ph_vector"], arrays["ph_elementwise_mean"], strict=True
    ):
        torch.testing.assert_close(pseudo_huber(x, y, c), vector, **EXACT)
        assert not torch.allclose(pseudo_huber(x, y, c), elementwise, rtol=0.1)
    for name, side in (("cifar", 32), ("in64", 64)):
        apart = torch.zeros(1, 3, side, side, dtype=torch.float64)
        c = float(arrays[f"ph_c_{name}"])
        torch.testing.assert_close(pseudo_huber(apart, apart + 0.1), pseudo_huber(apart, apart + 0.1, c), **EXACT)


def test_reference_losses_and_gradients_of_ct(reference, toy):
    arrays = reference("distill/cm_losses")
    for key in prefixes(arrays, "ct_", "_loss"):
        case, _, metric = key.rpartition("_")
        student, target = (ConsistencyFunction(ToyNetwork(toy[p], 1000), 0.5, EDM()) for p in ("p_student", "p_target"))
        t, r = arrays[f"{case}_t"], arrays[f"{case}_t_next"]
        torch.testing.assert_close(toy["x0"] + r.reshape(-1, 1, 1, 1) * toy["noise"], arrays[f"{case}_x_next"], **EXACT)
        loss = training_loss(student, target, toy["x0"], toy["noise"], t, r, {"l1": l1, "l2": l2}[metric])
        torch.testing.assert_close(loss, arrays[f"{key}_loss"], **EXACT)
        torch.testing.assert_close(gradient(loss, student), arrays[f"{key}_grad"], **EXACT)


def test_reference_losses_and_gradients_of_ict(reference, toy):
    arrays = reference("distill/ict_ect")
    for case in prefixes(arrays, "ict_", "_loss"):
        student = ConsistencyFunction(ToyNetwork(toy["p_student"], 1000), 0.5, EDM())
        levels, i = ascending(EDM(), int(case.rpartition("N")[2])), arrays[f"{case}_indices"]
        t, r = levels[i + 1], levels[i]
        torch.testing.assert_close(r, arrays[f"{case}_t_low"], **EXACT)
        torch.testing.assert_close(t, arrays[f"{case}_t_high"], **EXACT)
        distances = training_loss(student, student, toy["x0"], toy["noise"], t, r, pseudo_huber)
        loss = inverse_distance(t, r) * distances
        torch.testing.assert_close(loss, arrays[f"{case}_loss"], **EXACT)
        torch.testing.assert_close(gradient(loss, student), arrays[f"{case}_grad"], **EXACT)


def test_reference_losses_and_gradients_of_ect(reference, toy):
    arrays = reference("distill/ict_ect")
    for case in prefixes(arrays, "q", "_params"):
        q, k, b, c, stage = arrays[f"{case}_params"].tolist()
        student = EDMDenoiser(ToyNetwork(toy["p_student"], 1), 0.5, EDM())
        t = torch.exp(2.0 * arrays[f"{case}_rnd_normal"] - 1.1)
        r = ect_r(t, int(stage), q, k, b)
        torch.testing.assert_close(t, arrays[f"{case}_t"], **EXACT)
        torch.testing.assert_close(r, arrays[f"{case}_r"], **EXACT)

        def huber(x, y, c=c):
            return pseudo_huber(x, y, c)

        loss = inverse_distance(t, r) * training_loss(student, student, toy["x0"], toy["noise"], t, r, huber)
        torch.testing.assert_close(loss, arrays[f"{case}_loss"], **EXACT)
        torch.testing.assert_close(gradient(loss, student), arrays[f"{case}_grad"], **EXACT)


def test_ct_is_euler_distillation_on_average(toy_gaussian, toy):
    """CM-5: over the posterior of x0 given x_t, x0 + r eps averages to the teacher's Euler step (3 sigma)."""
    mean, variance = toy["gauss_mean"], toy["gauss_var"]
    t, r, draws = 1.5, 1.1, 100_000
    rng = torch.Generator().manual_seed(0)
    x_t = mean + math.sqrt(2.0) * torch.randn(mean.shape, generator=rng, dtype=torch.float64)
    posterior_variance = variance * t**2 / (variance + t**2)
    posterior_mean = mean + variance / (variance + t**2) * (x_t - mean)
    z = torch.randn(draws, *mean.shape, generator=rng, dtype=torch.float64)
    x0 = posterior_mean + posterior_variance.sqrt() * z
    x_r = x0 + r * (x_t - x0) / t
    d = toy_gaussian(EDM())(x_t[None], t)[0]
    euler = x_t + (r - t) * (x_t - d) / t
    error = (x_r.mean(0) - euler) / (x_r.std(0) / math.sqrt(draws))
    assert error.abs().max() < 4.5  # the largest of 48, each within 3 but for 0.3 %
    assert error.square().mean().sqrt() < 1.3


def test_two_points_are_one_interval():
    """CM-8."""
    torch.testing.assert_close(ascending(EDM(), 2), torch.tensor([0.002, 80.0], dtype=torch.float64))


def test_ct_grows_as_a_root_and_ict_doubles():
    assert [ct_points(share, 2, 150) for share in (0.0, 0.25, 1.0)] == [2, 76, 151]
    assert [ict_points(j / 8, 10, 1280) - 1 for j in range(8)] == [10, 20, 40, 80, 160, 320, 640, 1280]
    assert ict_points(1.0, 10, 1280) == 1281


def test_ect_closes_the_gap_by_q_each_stage():
    """Far from data k's term is gone: 1 - r/t = q^-(stage + 1)."""
    t = torch.tensor([60.0], dtype=torch.float64)
    for stage in range(6):
        torch.testing.assert_close(1 - ect_r(t, stage, 2.0, 8.0, 1.0) / t, torch.full_like(t, 2.0 ** -(stage + 1)))
    assert [ect_stage(share, 4) for share in (0.0, 0.24, 0.25, 0.99, 1.0)] == [0, 0, 1, 3, 3]


def test_where_r_is_zero_the_target_is_the_data():
    asked = []

    def f(x, r):
        asked.append(r)
        return x + 7 / r[:, None]

    x, r = torch.randn(3, 2), torch.tensor([0.0, 1.0, 0.5])
    y = clean_at_zero(f)(x, r)
    torch.testing.assert_close(y, x + torch.tensor([0.0, 7.0, 14.0])[:, None])
    assert torch.equal(clean_at_zero(f)(x, torch.zeros(3)), x)
    assert len(asked) == 1


def make(teacher, variant, seed=0, **options):
    return ConsistencyTraining(teacher, ConsistencyTrainingOptions(batch=8, variant=variant, **options), seed=seed)


def batch(step=0, size=8):
    x0 = torch.randn(size, 2, generator=torch.Generator().manual_seed(step))
    return {"step": step, "x0": x0, "labels": None}


VARIANTS = ["ct", "ict", "ect"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_the_student_gets_gradients(variant):
    method = make(killing.small_teacher(), variant)
    method.training_step(batch(), 0).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in method.student.parameters())
    others = [*method.teacher.parameters(), *method.average.parameters()]
    others += [] if method.target is None else list(method.target.parameters())
    assert all(p.grad is None for p in others)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_step_is_a_function_of_seed_step_and_share(variant):
    first, second, other = (make(killing.small_teacher(), variant, seed=seed) for seed in (3, 3, 4))
    for method in (first, second, other):
        method.spent = 0.7
    torch.manual_seed(5)
    one = first.training_step(batch(2), 0)
    torch.manual_seed(6)
    assert torch.equal(one, second.training_step(batch(2), 99))
    assert not torch.equal(one, other.training_step(batch(2), 0))
    first.spent = 0.0
    assert not torch.equal(one, first.training_step(batch(2), 0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_student_starts_as_the_teacher_or_at_random(variant):
    teacher = killing.small_teacher()
    same, fresh, again, other = (
        make(teacher, variant, seed, init=init)
        for init, seed in (("teacher", 0), ("random", 0), ("random", 0), ("random", 1))
    )
    methods = (same, fresh, again, other)
    given, *students = ([p.detach() for p in m.parameters()] for m in (teacher, *(m.student for m in methods)))
    assert all(torch.equal(p, q) for p, q in zip(given, students[0], strict=True))
    assert all(torch.equal(p, q) for p, q in zip(students[1], students[2], strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(students[1], given, strict=True) if p.std() > 0)
    assert not any(torch.equal(p, q) for p, q in zip(students[1], students[3], strict=True) if p.std() > 0)


def test_random_weights_are_those_of_a_new_network():
    """Of the same scale layer by layer, and zero where a new network is."""
    teacher = killing.small_unet()
    student = make(teacher, "ct", init="random").student.network
    torch.manual_seed(1)
    for (name, own), new in zip(student.named_parameters(), SmallUNet(1, 8, (1, 2)).parameters(), strict=True):
        own, new = own.detach(), new.detach()
        if new.eq(new.flatten()[0]).all():
            assert torch.equal(own, new), name
        elif new.numel() >= 64:
            assert float(own.std() / new.std()) == pytest.approx(1, abs=0.3), name


def test_a_network_that_cannot_be_drawn_anew_is_named():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    teacher = EDMDenoiser(nn.Sequential(nn.Linear(2, 2), Odd()), 0.75, EDM(0.01, 40.0))
    with pytest.raises(ValueError, match=r"layer '1' \(Odd\) has no reset_parameters"):
        make(teacher, "ct", init="random")


def test_ct_moves_its_target_at_the_rate_of_its_grid():
    method = make(killing.small_teacher(), {"name": "ct", "s0": 2, "s1": 20, "mu0": 0.8})
    with torch.no_grad():
        for p in method.student.parameters():
            p.add_(1.0)
    for spent in (0.0, 0.3, 0.9):
        method.progress = spent
        before = [p.clone() for p in method.target.parameters()]
        method.update_averages()
        mu = 0.8 ** (2 / (ct_points(spent, 2, 20) - 1))
        for p, q, own in zip(method.target.parameters(), before, method.student.parameters(), strict=True):
            torch.testing.assert_close(p, mu * q + (1 - mu) * own)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_sampling_takes_exactly_the_evaluations_asked_for(variant, nfe):
    method = make(killing.small_teacher(), variant).eval()
    with metered() as meter:
        x = method.sample(torch.randn(5, 2), nfe, draws=lambda j: noise(0, f"draw-{j}", range(5), (2,)))
    assert x.shape == (5, 2)
    assert meter.evaluations == 5 * nfe


def test_ect_samples_as_its_authors_do():
    """x = D(T z, T), then D(x + tau z', tau): the whole tau, since D leaves no noise in its output."""
    method = make(killing.small_teacher(), "ect", last_level=0.5).eval()
    start, again = noise(0, "a", range(5), (2,)), noise(0, "b", range(5), (2,))
    tau = (40 ** (1 / 7) + 0.5 * (0.01 ** (1 / 7) - 40 ** (1 / 7))) ** 7
    d = method.average.module
    expected = d(d(40 * start, 40.0) + tau * again, tau)
    torch.testing.assert_close(method.sample(start, 2, draws=lambda j: again), expected)


ALL_CLEAN = {"name": "ect", "stages": 1, "log_sigma_mean": -9.0}
"""At such low levels r is 0 throughout the first stage."""
NEVER_CLEAN = {"name": "ect", "stages": 1, "q": 256.0}


@pytest.mark.parametrize(("variant", "target"), [("ct", 1), ("ict", 1), (NEVER_CLEAN, 1), (ALL_CLEAN, 0)], ids=str)
def test_a_step_costs_four_evaluations_and_three_where_r_is_zero(tmp_path, variant, target):
    """The target's forward, the student's, and its backward as two; nothing is asked of the teacher."""
    method, data = make(killing.small_unet(), variant), datasets.get("digits")
    ledger = Ledger(300.0, "evaluations", forward_flops(method.teacher, torch.zeros(2, *data.shape)))
    with FlopCounterMode(display=False) as counter:
        fit(method, data, 0, ledger, tmp_path, NoTracker())
    assert ledger.steps > 5
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    per_sample = {use: flops / ledger.flops_per_evaluation / ledger.images for use, flops in ledger.uses.items()}
    expected = {"target": 1, "student forward": 1, "student backward": 2}
    assert per_sample == pytest.approx({k: v for k, v in expected.items() if k != "target" or target}, rel=0.02)


def test_the_ledger_holds_where_only_some_steps_ask_the_target(tmp_path):
    """With a batch of 8 and most r at 0, steps of both kinds occur."""
    variant = {"name": "ect", "stages": 1, "log_sigma_mean": -2.5}
    method, data = make(killing.small_teacher(), variant), killing.DATA
    ledger = Ledger(1500.0, "evaluations", forward_flops(method.teacher, torch.zeros(2, *data.shape)))
    with FlopCounterMode(display=False) as counter:
        fit(method, data, 0, ledger, tmp_path, NoTracker())
    assert set(ledger.step_flops) == {"step", "step to clean data"}
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)


class WithDropout(nn.Module):
    """Its masks come from torch's global generator."""

    def __init__(self):
        super().__init__()
        self.mlp, self.dropout = ResidualMLP(2, width=16, blocks=1), nn.Dropout(0.3)
        nn.init.normal_(self.mlp.out.weight, std=0.3)

    def forward(self, x, c_noise, condition=None):
        return self.mlp(self.dropout(x), c_noise)


def dropout_teacher():
    torch.manual_seed(0)
    return EDMDenoiser(WithDropout(), 0.75, EDM(0.01, 40.0)).requires_grad_(False)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_run_resumed_equals_an_undisturbed_one(tmp_path, monkeypatch, variant):
    """Schedules are functions of the share spent, masks of seed and step: nothing else is to be remembered."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    undisturbed, killed, resumed = (make(dropout_teacher(), variant) for _ in range(3))
    expected = killing.train(undisturbed, 400.0, tmp_path / "a")
    torch.manual_seed(2)
    with pytest.raises(killing.Killed):
        killing.train(killed, 400.0, tmp_path / "b", kill=7)
    torch.manual_seed(3)
    ledger = killing.train(resumed, 400.0, tmp_path / "b")
    assert killing.same(resumed, undisturbed)
    assert (ledger.flops, ledger.steps) == (expected.flops, expected.steps)


def test_student_and_target_drop_the_same_units():
    """With one set of weights, one level and one input, only masks could tell the two sides apart."""
    model = EDMDenoiser(WithDropout(), 0.75, EDM(0.01, 40.0)).train()
    x0, eps, t = torch.randn(64, 2), torch.randn(64, 2), torch.full((64,), 1.3)
    state = torch.get_rng_state()
    loss = training_loss(model, model, x0, eps, t, t, l2, masks=5)
    assert torch.equal(loss, torch.zeros(64))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(model(x0, t), model(x0, t))
    with torch.no_grad():
        changed = copy.deepcopy(model)
        changed.network.mlp.out.bias.add_(1.0)
    assert (training_loss(model, changed, x0, eps, t, t, l2, masks=5) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_reaches_the_mixture(tmp_path, variant):
    """Within 150,000 evaluations: one step of Euler's is at 0.7, two samples of the data at 0.03."""
    method = ConsistencyTraining(toy2d.teacher(), ConsistencyTrainingOptions(variant=variant))
    ledger = toy2d.train(method, 150_000, tmp_path)
    assert ledger.evaluations <= 150_000
    start = noise(0, "start", range(2000), (2,))
    one, two = (
        toy2d.swd(method.sample(start, n, draws=lambda j: noise(0, f"draw-{j}", range(2000), (2,)))) for n in (1, 2)
    )
    assert one < 0.15
    assert two < 0.12
