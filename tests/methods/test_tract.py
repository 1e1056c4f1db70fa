"""TRACT: the authors' targets and losses, what the target means, phases under a budget, the 2-D testbed."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench import training
from fewstep.methods import registry, saved, solvers
from fewstep.methods.denoiser import Clipped, EDMDenoiser, Guided, edm_scalings, from_function, metered
from fewstep.methods.distillation.tract import (
    Phase,
    Tract,
    ddim_step,
    edm_loss,
    heun_step,
    ladder,
    tract_target,
    vp_loss,
)
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.options import TractOptions
from fewstep.methods.paths import EDM, VPCosine, expand
from fewstep.tests.methods import killing, toy2d

EXACT = {"rtol": 1e-6, "atol": 1e-9}
VP = VPCosine()
OWN = EDM(0.01, 40.0)


def toy_network(u, tau, p):
    """N(u, tau; p) = p0 u + p1 tanh(2u) + p2 sin(tau + u) + p3 cos(tau)."""
    tau = tau.reshape(-1, 1, 1, 1)
    return p[0] * u + p[1] * torch.tanh(2 * u) + p[2] * torch.sin(tau + u) + p[3] * torch.cos(tau)


def toy_vp(p):
    return lambda x, t: toy_network(x, VP.half_log_snr(t) / 5, p)


def toy_edm(p):
    def denoise(x, t):
        c_skip, c_out, c_in = (expand(c, x) for c in edm_scalings(t, 0.5))
        return c_skip * x + c_out * toy_network(c_in * x, t.log() / 4, p)

    return denoise


def cases(arrays):
    found = [name.removesuffix("_index_units") for name in arrays.names if name.endswith("_index_units")]
    assert found
    return found


def vp_case(arrays, case):
    """(the case's phase, its rungs (3, B), their times)."""
    schedule, number = arrays[f"{case}_schedule"].tolist(), int(arrays[f"{case}_phase"])
    phase = Phase(schedule[0], schedule[number], schedule[number + 1])
    rungs = phase.rungs_of(arrays[f"{case}_index_units"], arrays[f"{case}_semi_units"])
    return phase, rungs, ladder(VP, phase.rungs)[rungs]


def edm_case(arrays, case):
    steps, student_steps = arrays[f"{case}_schedule"].tolist()
    phase = Phase(steps, steps, student_steps)
    rungs = phase.rungs_of(arrays[f"{case}_index_units"], arrays[f"{case}_semi_index"])
    return phase, rungs, ladder(EDM(), steps)[rungs]


def vp_target(toy, toy_mixture, x_t, times):
    teacher = partial(ddim_step, VP, Clipped(toy_mixture(VP), 1.0))
    return tract_target(VP, teacher, Clipped(from_function(toy_vp(toy["p_target"]), VP), 1.0), x_t, times)


def edm_target(toy, toy_mixture, x_t, times):
    path = EDM()
    teacher = partial(heun_step, path, toy_mixture(path))
    return tract_target(path, teacher, Clipped(from_function(toy_edm(toy["p_target"]), path), 1.0), x_t, times)


def test_reference_vp_targets(reference, toy, toy_mixture):
    """TR-1."""
    arrays = reference("distill/tract_vp")
    for case in cases(arrays):
        _, rungs, times = vp_case(arrays, case)
        assert torch.equal(rungs.double(), arrays[f"{case}_t_int"])
        x_t = VP.noisy(toy["x0"], toy["noise"], times[0])
        torch.testing.assert_close(x_t, arrays[f"{case}_xt"], **EXACT)
        x_teacher = ddim_step(VP, Clipped(toy_mixture(VP), 1.0), x_t, times[0], times[1])
        torch.testing.assert_close(x_teacher, arrays[f"{case}_x_teacher"], **EXACT)
        target = vp_target(toy, toy_mixture, x_t, times)
        torch.testing.assert_close(target, arrays[f"{case}_target"], **EXACT)
        torch.testing.assert_close(target, arrays[f"{case}_target_official"], **EXACT)
        landed = VP.ddim_step(x_t, target, times[0], times[2])
        torch.testing.assert_close(landed, arrays[f"{case}_x_selfteacher"], **EXACT)


def test_reference_vp_losses_and_gradients(reference, toy, toy_mixture):
    """TR-1: with the self-teacher's own parameters as the student's: no gradient flows through the target."""
    arrays = reference("distill/tract_vp")
    for case in cases(arrays):
        _, _, times = vp_case(arrays, case)
        x_t, t = arrays[f"{case}_xt"], times[0]
        official, weight = arrays[f"{case}_target_official"], arrays[f"{case}_weight"]
        free = torch.zeros_like(x_t, requires_grad=True)
        loss = vp_loss(VP, lambda x, t, free=free: free, vp_target(toy, toy_mixture, x_t, times), x_t, t)
        torch.testing.assert_close(loss, arrays[f"{case}_loss_zero_student"], **EXACT)
        (gradient,) = torch.autograd.grad(loss, free)
        torch.testing.assert_close(gradient, -2 / len(x_t) * expand(weight, x_t) * official, **EXACT)

        p = toy["p_target"].clone().requires_grad_()
        target = vp_target({"p_target": p}, toy_mixture, x_t, times)
        (gradient,) = torch.autograd.grad(vp_loss(VP, toy_vp(p), target, x_t, t), p)
        q = toy["p_target"].clone().requires_grad_()
        squares = (toy_vp(q)(x_t, t) - official).square().flatten(1).sum(1)
        (expected,) = torch.autograd.grad((weight * squares).mean(), q)
        torch.testing.assert_close(gradient, expected, **EXACT)


def test_reference_edm_targets(reference, toy, toy_mixture):
    """TR-1."""
    arrays = reference("distill/tract_edm")
    for case in cases(arrays):
        phase, rungs, times = edm_case(arrays, case)
        torch.testing.assert_close(ladder(EDM(), phase.rungs), arrays[f"{case}_sigma_grid"], **EXACT)
        assert torch.equal(rungs[::2].long(), arrays[f"{case}_index_triplet"][::2])
        assert torch.equal(rungs[1].clamp(min=1), arrays[f"{case}_index_triplet"][1])
        x_t = EDM().noisy(toy["x0"], toy["noise"], times[0])
        torch.testing.assert_close(x_t, arrays[f"{case}_xt"], **EXACT)
        x_teacher = heun_step(EDM(), toy_mixture(EDM()), x_t, times[0], times[1])
        # Their step to noise 0 is none at all, and the target is overwritten; ours is Euler's.
        above = rungs[1] > 0
        torch.testing.assert_close(x_teacher[above], arrays[f"{case}_x_teacher"][above], **EXACT)
        target = edm_target(toy, toy_mixture, x_t, times)
        torch.testing.assert_close(target, arrays[f"{case}_target"], **EXACT)
        torch.testing.assert_close(target, arrays[f"{case}_target_official"], **EXACT)
        landed = EDM().ddim_step(x_t, target, times[0], times[2])
        torch.testing.assert_close(landed[above], arrays[f"{case}_x_selfteacher"][above], **EXACT)


def test_reference_edm_losses_and_gradients(reference, toy, toy_mixture):
    """TR-1."""
    arrays = reference("distill/tract_edm")
    for case in cases(arrays):
        _, _, times = edm_case(arrays, case)
        x_t, t = arrays[f"{case}_xt"], times[0]
        target = edm_target(toy, toy_mixture, x_t, times)
        loss = edm_loss(0.5, lambda x, t: torch.zeros_like(x), target, x_t, t)
        torch.testing.assert_close(loss, arrays[f"{case}_loss_zero_student"], **EXACT)

        p = toy["p_target"].clone().requires_grad_()
        own = edm_target({"p_target": p}, toy_mixture, x_t, times)
        loss = edm_loss(0.5, toy_edm(p), own, x_t, t)
        q = toy["p_target"].clone().requires_grad_()
        _, _, c_in = edm_scalings(t, 0.5)
        output = toy_network(expand(c_in, x_t) * x_t, t.log() / 4, q)
        weighted = expand(arrays[f"{case}_weight"], x_t) * (output - arrays[f"{case}_target_F"]).square()
        torch.testing.assert_close(loss, weighted.mean(), **EXACT)
        expected, gradient = torch.autograd.grad(weighted.mean(), q), torch.autograd.grad(loss, p)
        torch.testing.assert_close(gradient, expected, **EXACT)


def test_reference_jump_to_the_target_lands_on_the_chain(reference, toy, toy_mixture):
    """TR-2, and TR-4: where the teacher's step ends the interval, any self-teacher gives the same target."""
    arrays = reference("distill/tract_vp")
    other = lambda x, t: torch.full_like(x, 0.3)  # noqa: E731
    seen = 0
    for case in cases(arrays):
        _, _, (t, middle, s) = vp_case(arrays, case)
        x_t = arrays[f"{case}_xt"]
        teacher = partial(ddim_step, VP, Clipped(toy_mixture(VP), 1.0))
        targets = [
            tract_target(VP, teacher, self_teacher, x_t, torch.stack([t, middle, s]))
            for self_teacher in (toy_vp(toy["p_target"]), other)
        ]
        x_1 = teacher(x_t, t, middle)
        x_2 = torch.where(expand(middle == s, x_t) > 0, x_1, ddim_step(VP, other, x_1, middle, s))
        torch.testing.assert_close(VP.ddim_step(x_t, targets[1], t, s), x_2, rtol=0, atol=1e-10)
        ends = middle == s
        seen += int(ends.sum())
        assert torch.equal(targets[0][ends], targets[1][ends])
        assert not torch.isclose(targets[0][~ends], targets[1][~ends]).all()
    assert seen


def progressive_target(teacher, z, t, m, s):
    """Salimans & Ho 2022, algorithm 2, as they write it."""
    alpha_t, sigma_t, alpha_m, sigma_m, alpha_s, sigma_s = (
        expand(f(u), z) for u in (t, m, s) for f in (VP.alpha, VP.sigma)
    )
    x = teacher(z, t)
    z_m = alpha_m * x + sigma_m / sigma_t * (z - alpha_t * x)
    x = teacher(z_m, m)
    z_s = alpha_s * x + sigma_s / sigma_m * (z_m - alpha_m * x)
    return (z_s - sigma_s / sigma_t * z) / (alpha_s - sigma_s / sigma_t * alpha_t)


def test_reference_toy_two_teacher_steps_are_progressive_distillation(toy, toy_mixture):
    """TR-3: two steps to one, the self-teacher being the teacher, from an interval's upper end."""
    teacher = toy_mixture(VP)
    interval = torch.arange(len(toy["x0"])) % 4 + 1
    t, m, s = times = ladder(VP, 8)[Phase(8, 8, 4).rungs_of(interval, torch.zeros_like(interval))]
    x_t = VP.noisy(toy["x0"], toy["noise"], t)
    target = tract_target(VP, partial(ddim_step, VP, teacher), teacher, x_t, times)
    torch.testing.assert_close(target, progressive_target(teacher, x_t, t, m, s), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("path", "step"), [(VP, ddim_step), (EDM(), heun_step), (EDM(), ddim_step)])
def test_reference_toy_the_teachers_whole_chain_is_a_fixed_point(toy, toy_mixture, path, step):
    """TR-5: if the self-teacher's jumps are the teacher's chains, the target is the jump that is the chain."""
    teacher_step, rungs, group = partial(step, path, toy_mixture(path)), 12, 6
    times = ladder(path, rungs)

    def chain(x, first, last):
        for i in range(first, last, -1):
            x = teacher_step(x, times[i].expand(len(x)), times[i - 1].expand(len(x)))
        return x

    def jump(x, first, last):
        return path.x0_of_step(x, chain(x, first, last), times[first], times[last])

    for interval in (1, 2):
        for offset in range(group):
            i, middle, last = Phase(rungs, rungs, rungs // group).rungs_of(*map(torch.tensor, (interval, offset)))
            at = times[torch.stack([i, middle, last])][:, None].expand(3, len(toy["x0"]))
            x_t = path.noisy(toy["x0"], toy["noise"], at[0])
            target = tract_target(path, teacher_step, lambda x, t, m=middle, s=last: jump(x, m, s), x_t, at)
            torch.testing.assert_close(target, jump(x_t, i, last), rtol=1e-9, atol=1e-9)


def test_edm_weight_is_one_in_the_networks_output():
    """TR-6: EDM's lambda = (s^2 + sd^2)/(s sd)^2 on D is 1 on F, since D = c_skip x + c_out F."""
    sigma = ladder(EDM(), 40)[1:]
    _, c_out, _ = edm_scalings(sigma, 0.5)
    torch.testing.assert_close((sigma**2 + 0.25) / (0.5 * sigma) ** 2 * c_out**2, torch.ones_like(sigma))


def test_reference_toy_the_last_step_to_noise_zero_learns_the_teachers_denoiser(toy, toy_mixture):
    """TR-6: from the smallest level the chain is one Euler step to 0."""
    path, x_t = EDM(), toy["x0"] + 0.002 * toy["noise"]
    times = ladder(path, 8)[torch.tensor([1, 0, 0])][:, None].expand(3, len(x_t))
    for step in (ddim_step, heun_step):
        target = tract_target(path, partial(step, path, toy_mixture(path)), toy_edm(toy["p_target"]), x_t, times)
        torch.testing.assert_close(target, toy_mixture(path)(x_t, 0.002), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("phase", [Phase(32, 32, 4), Phase(32, 4, 1), Phase(1024, 32, 1), Phase(40, 40, 2)])
def test_drawn_pairs_are_teacher_times_inside_student_intervals(phase):
    t, middle, s = phase.draw(4000, torch.Generator().manual_seed(0))
    step, semi = phase.rungs // phase.student_steps, phase.rungs // phase.teacher_steps
    assert ((s <= middle) & (middle == t - semi) & (t - s <= step)).all()
    assert (s % step == 0).all()
    assert set(t.tolist()) == set(range(semi, phase.rungs + 1, semi))


VARIANTS = {
    "edm": {},
    "edm-heun": {"ode_step": "heun"},
    "vp": {"path": "vp-cosine", "gradient_clip": 1.0, "restart": True, "clip_x0": True},
    "one-phase": {"phases": (1,), "ode_step": "heun"},
    "three-phases": {"phases": (16, 4, 1), "shares": (1, 1, 2), "restart": True},
}


@pytest.mark.parametrize(
    ("make", "data", "variant"),
    [
        *((killing.small_teacher, "mixture-2d", variant) for variant in VARIANTS),
        (killing.small_unet, "digits", "edm-heun"),
    ],
)
def test_the_ledger_equals_a_flop_counter_around_the_whole_run(tmp_path, make, data, variant):
    method = Tract(make(), TractOptions(batch=8, **VARIANTS[variant]))
    with FlopCounterMode(display=False) as counter:
        ledger = killing.train(method, 800.0, tmp_path, data=datasets.get(data))
    assert ledger.steps > 15
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    assert 800 - 49 < ledger.evaluations <= 800


@pytest.mark.parametrize(("variant", "first", "later"), [("edm", 1, 1), ("vp", 1, 1), ("edm-heun", 2, 1)])
def test_a_step_costs_what_the_networks_it_touches_cost(tmp_path, variant, first, later):
    """Per sample 5 evaluations, or 6: the teacher, the self-teacher, the student, its backward pass as two."""
    method = Tract(killing.small_unet(), TractOptions(batch=8, **VARIANTS[variant]))
    ledger = killing.train(method, 500.0, tmp_path, data=datasets.get("digits"))
    assert list(ledger.step_uses) == ["to 4 steps", "to 1 steps"]
    for uses, teacher in zip(ledger.step_uses.values(), (first, later), strict=True):
        per_sample = {use: flops / ledger.flops_per_evaluation / 8 for use, flops in uses.items()}
        assert per_sample == pytest.approx(
            {"teacher": teacher, "target": 1, "student forward": 1, "student backward": 2}, rel=0.02
        )


@pytest.mark.parametrize("variant", ["edm", "edm-heun", "vp", "three-phases"])
def test_a_run_killed_in_each_phase_and_resumed_equals_an_undisturbed_one(tmp_path, monkeypatch, variant):
    """Kills in the middle of every phase and on both sides of each change."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)

    def make():
        teacher = killing.small_teacher()
        teacher.sample_bound = 2.0
        return Tract(teacher, TractOptions(batch=8, **VARIANTS[variant]))

    undisturbed = make()
    expected = killing.train(undisturbed, 900.0, tmp_path / "a")
    changes = [0, *(round(end * expected.steps) for end in undisturbed.options.ends)]
    middles = [(first + last) // 2 for first, last in pairwise(changes)]
    for step in sorted({*middles, *(step + d for step in changes[1:-1] for d in (-1, 0, 1, 2))}):
        with pytest.raises(killing.Killed):
            killing.train(make(), 900.0, tmp_path / "b", kill=step)
    resumed = make()
    ledger = killing.train(resumed, 900.0, tmp_path / "b")
    assert killing.same(resumed, undisturbed)
    assert ledger.students.keys() == expected.students.keys() == {str(n) for n in resumed.options.phases[:-1]}
    for nfe, spent in ledger.students.items():
        assert {**spent, "seconds": 0} == {**expected.students[nfe], "seconds": 0}
    assert (ledger.flops, ledger.images, ledger.steps) == (expected.flops, expected.images, expected.steps)


class Watched(Tract):
    """Keeps, for each step, the budget spent before it, the student after it, Adam's counter and the learning rate."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = []

    def update_averages(self):
        optimizer = self.trainer.optimizers[0]
        counter = int(next(iter(optimizer.state.values()))["step"])
        rate = optimizer.param_groups[0]["lr"]
        flat = nn.utils.parameters_to_vector(self.student.parameters()).detach().clone()
        self.seen.append((self.spent, flat, counter, rate))
        super().update_averages()

    def of_phase(self, number):
        return [seen for seen in self.seen if self.phase_at(seen[0]) == number]


def test_each_phase_has_its_share_a_fresh_optimiser_and_a_rate_that_falls_to_zero(tmp_path):
    method = Watched(killing.small_teacher(), TractOptions(batch=8, shares=(3, 1), warmup_steps=4, restart=True))
    killing.train(method, 1650.0, tmp_path)
    long, short = (method.of_phase(number) for number in (0, 1))
    assert len(long) == pytest.approx(3 * len(short), abs=3)
    for phase in (long, short):
        assert [counter for _, _, counter, _ in phase] == list(range(1, len(phase) + 1))
        rates = [rate for _, _, _, rate in phase]
        assert rates[0] == pytest.approx(0.25 * 1e-3, rel=0.1)
        assert rates[-1] < 2e-3 / len(phase)
        assert rates[3:] == sorted(rates[3:], reverse=True)


@pytest.mark.parametrize("decay", ["linear", "constant"])
def test_without_a_restart_one_optimiser_and_one_schedule_go_through_all_phases(tmp_path, decay):
    method = Watched(killing.small_teacher(), TractOptions(batch=8, learning_rate_decay=decay, warmup_steps=4))
    killing.train(method, 900.0, tmp_path)
    assert [counter for _, _, counter, _ in method.seen] == list(range(1, len(method.seen) + 1))
    for spent, _, counter, rate in method.seen:
        falling = 1 - spent if decay == "linear" else 1.0
        assert rate == pytest.approx(1e-3 * min(1, counter / 4) * falling)


@pytest.mark.parametrize("variant", ["edm", "edm-heun"])
def test_a_phases_student_is_the_bias_corrected_average_of_its_steps(tmp_path, variant):
    """mu^(steps of the phase) = r, though nobody knew beforehand how many steps the budget buys."""
    r = 0.05
    method = Watched(killing.small_teacher(), TractOptions(batch=8, ema_per_phase=r, **VARIANTS[variant]))
    killing.train(method, 1300.0, tmp_path)
    for number in (0, 1):
        seen = method.of_phase(number)
        steps = 0.5 / (seen[1][0] - seen[0][0])
        assert len(seen) == pytest.approx(steps, abs=1.5)
        mu, k = r ** (1 / steps), len(seen)
        expected = sum((1 - mu) * mu ** (k - 1 - j) * flat for j, (_, flat, _, _) in enumerate(seen)) / (1 - mu**k)
        own = nn.utils.parameters_to_vector(method.average(number).module.parameters())
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-6)
        assert float((own - seen[-1][1]).abs().max()) > 1e-4


def test_each_student_cost_what_was_spent_up_to_it(tmp_path):
    method = Tract(killing.small_teacher(), TractOptions(batch=8, shares=(1, 3), ode_step="heun"))
    ledger = killing.train(method, 1000.0, tmp_path)
    assert ledger.students["4"]["evaluations"] == pytest.approx(250, abs=50)
    assert ledger.students["4"]["flops"] == ledger.students["4"]["steps"] * ledger.step_flops["to 4 steps"]
    assert ledger.evaluations == pytest.approx(1000, abs=50)
    assert list(ledger.students) == ["4"]


def test_jumps_are_clipped_and_edms_first_teacher_is_not():
    """As the released code: on VP every prediction but the student's, on EDM the self-teacher's and later teachers'."""
    x, t, s = 3 * torch.randn(4, 2).double(), torch.full((4,), 0.5).double(), torch.full((4,), 0.2).double()
    for name, path, spent, clips in (("edm", OWN, 0, False), ("edm", OWN, 0.5, True), ("vp-cosine", VP, 0, True)):
        teacher = killing.small_teacher()
        teacher.sample_bound = 0.2
        method = Tract(teacher, TractOptions(path=name, clip_x0=True))
        method.spent = spent
        x0 = teacher.on(path)(x, t)
        assert x0.abs().max() > 0.2
        expected = path.ddim_step(x, x0.clamp(-0.2, 0.2) if clips else x0, t, s)
        torch.testing.assert_close(method.teacher_step()(x, t, s), expected)


def test_the_later_phases_teacher_is_the_student_that_the_phase_before_left():
    method = Tract(killing.small_teacher(), TractOptions())
    with torch.no_grad():
        for parameter in method.average(0).module.parameters():
            parameter.add_(0.1)
    x, t, s = torch.randn(4, 2).double(), torch.full((4,), 3.0).double(), torch.full((4,), 1.0).double()
    for spent, denoiser in ((0.0, method.teacher), (0.5, method.average(0).module)):
        method.spent = spent
        torch.testing.assert_close(method.teacher_step()(x, t, s), OWN.ddim_step(x, denoiser(x, t), t, s))


def test_a_budget_that_leaves_a_phase_out_is_told(tmp_path):
    method = Tract(killing.small_teacher(), TractOptions(batch=8, shares=(98, 2)))
    with pytest.raises(ValueError, match="buys no step of the phase to 1 steps: give a larger budget"):
        killing.train(method, 400.0, tmp_path)


def batch(step=0, size=8):
    return {"step": step, "x0": torch.randn(size, 2, generator=torch.Generator().manual_seed(step)), "labels": None}


@pytest.mark.parametrize("spent", [0.2, 0.7])
def test_only_the_student_gets_gradients(spent):
    method = Tract(killing.small_teacher(), TractOptions(batch=8))
    method.spent = spent
    method.training_step(batch(), 0).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.student.network.out.parameters())
    others = [method.teacher, method.self_teacher, method.averages]
    assert all(p.grad is None for module in others for p in module.parameters())
    assert method.trainable_count() == sum(p.numel() for p in method.teacher.parameters())
    assert not any("teacher" in name and "self_teacher" not in name for name in method.state_dict())


def test_a_step_is_a_function_of_seed_and_step():
    first, second, other = (Tract(killing.small_teacher(), TractOptions(), seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.training_step(batch(5), 0), second.training_step(batch(5), 99))
    assert not torch.equal(first.training_step(batch(5), 0), other.training_step(batch(5), 0))


def guided_teacher(scale=2.0):
    torch.manual_seed(0)
    network = ResidualMLP(2, width=16, blocks=1, classes=3)
    nn.init.normal_(network.out.weight, std=0.3)
    denoiser = EDMDenoiser(network, 0.75, OWN)
    denoiser.class_counts = (5, 3, 2)
    return Guided(denoiser, scale)


@pytest.mark.parametrize(("part", "spent"), [("student", 0.2), ("self", 0.2), ("teacher", 0.2), ("phase", 0.7)])
@pytest.mark.parametrize("path", ["edm", "vp-cosine"])
def test_every_network_of_a_step_sees_the_batchs_labels(part, spent, path):
    """Erasing the labels of one of them alone changes the loss."""

    def loss(erased):
        method = Tract(guided_teacher(), TractOptions(path=path))
        method.spent = spent
        parts = {
            "student": method.student,
            "self": method.self_teacher.module,
            "teacher": method.teacher.unwrapped(),
            "phase": method.average(0).module,
        }
        if erased:
            table = parts[part].network.embed.labels
            with torch.no_grad():
                table.weight[:-1] = table.weight[-1]
        labelled = {**batch(size=64), "labels": torch.arange(64) % 3}
        return float(method.training_step(labelled, 0).detach())

    assert abs(loss(True) - loss(False)) > 1e-6 * loss(False)


def test_a_guided_teachers_student_bakes_the_guidance_in():
    """It copies the network and samples with one forward an evaluation, of the class asked for."""
    method = Tract(guided_teacher(), TractOptions()).eval()
    start = torch.randn(1, 2, generator=torch.Generator().manual_seed(1)).expand(3, 2)
    with metered() as meter:
        x0 = method.sample(start, 4, torch.tensor([0, 1, 2]))
    assert (meter.evaluations, meter.forwards) == (12, 12)
    assert min(float((x0[i] - x0[j]).abs().max()) for i in range(3) for j in range(i)) > 1e-3


@pytest.mark.parametrize(("name", "path"), [("edm", OWN), ("vp-cosine", VP)])
@pytest.mark.parametrize("nfe", [4, 1])
def test_sampling_is_ddim_over_the_phases_intervals(name, path, nfe):
    """Untrained, every student is the teacher: its samples are those of the Euler solver on the same times."""
    teacher = killing.small_teacher()
    start = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    times = ladder(path, 32)[:: 32 // nfe].flip(0)
    expected = solvers.get("euler").sample(teacher.on(path), start, times=times)
    method = Tract(teacher, TractOptions(path=name)).eval()
    with metered() as meter:
        torch.testing.assert_close(method.sample(start, nfe), expected, rtol=1e-5, atol=1e-6)
    assert meter.evaluations == 5 * nfe
    teacher.sample_bound = bound = float(0.3 * expected.abs().max())
    assert float(Tract(teacher, TractOptions(path=name, clip_x0=True)).eval().sample(start, nfe).abs().max()) == bound
    free = Tract(teacher, TractOptions(path=name)).eval().sample(start, nfe)
    torch.testing.assert_close(free, expected, rtol=1e-5, atol=1e-6)


def test_an_nfe_at_which_no_phase_ends_is_refused():
    reason = "no phase ends at 2 steps: there are students of 4, 1"
    with pytest.raises(UnreachableNFE, match=reason):
        Tract(killing.small_teacher(), TractOptions()).sample(torch.zeros(1, 2), 2)
    spec = registry.method("tract")
    assert spec.refusal(2) == reason
    assert spec.refusal(4) is None
    assert spec.refusal(2, TractOptions(phases=(8, 2))) is None
    assert spec.refusal(4, TractOptions(phases=(8, 2))) == "no phase ends at 4 steps: there are students of 8, 2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phases": (5, 1)}, "32 steps cannot become 5: each phase must divide the steps before it"),
        ({"phases": (4, 4)}, "4 steps cannot become 4"),
        ({"phases": (4, 0)}, "4 steps cannot become 0"),
        ({"shares": (1,)}, "give one positive number for each of the 2 phases"),
        ({"shares": (1, -1)}, "give one positive number for each of the 2 phases"),
        ({"path": "vp-cosine", "ode_step": "heun"}, "on vp-cosine the teacher steps with DDIM"),
    ],
)
def test_wrong_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        TractOptions(**options)


def test_a_teacher_without_edm_preconditioning_is_refused():
    with pytest.raises(ValueError, match="starts from a teacher network with EDM preconditioning"):
        Tract(toy2d.exact(), TractOptions())


@pytest.fixture(scope="module")
def on_the_mixture(tmp_path_factory):
    """(method, ledger) after 150,000 evaluations with the defaults."""
    method = Tract(toy2d.teacher(), TractOptions(batch=256))
    return method, toy2d.train(method, 150_000, tmp_path_factory.mktemp("toy"))


def test_one_step_is_near_the_mixture_where_euler_is_far(on_the_mixture):
    method, ledger = on_the_mixture
    start = torch.randn(2000, 2, generator=torch.Generator().manual_seed(2))
    assert 150_000 - 256 * 6 < ledger.evaluations <= 150_000
    assert toy2d.swd(solvers.get("euler").sample(method.teacher, start, nfe=1)) > 0.6
    assert toy2d.swd(method.sample(start, 1)) < 0.15
    assert toy2d.swd(method.sample(start, 4)) < 0.1


def test_a_saved_run_holds_the_students_of_all_phases(on_the_mixture, tmp_path):
    method, _ = on_the_mixture
    saved.save(method, "tract", method.options, tmp_path / "students")
    loaded = saved.load(tmp_path / "students", toy2d.teacher()).eval()
    start = torch.randn(3, 2, generator=torch.Generator().manual_seed(2))
    samples = {nfe: method.sample(start, nfe) for nfe in (4, 1)}
    assert all(torch.equal(loaded.sample(start, nfe), samples[nfe]) for nfe in samples)
    assert not torch.allclose(samples[4], samples[1])


def test_the_papers_vp_recipe_reaches_the_mixture_too(tmp_path):
    options = TractOptions(path="vp-cosine", teacher_steps=32, phases=(8, 1), batch=256)
    method = Tract(toy2d.teacher(), options)
    assert toy2d.train(method, 150_000, tmp_path).evaluations <= 150_000
    start = torch.randn(2000, 2, generator=torch.Generator().manual_seed(2))
    assert toy2d.swd(method.sample(start, 1)) < 0.15
