"""TRACT: the authors' targets and losses, what the target means, phases under a budget, the 2-D testbed."""

from functools import partial

import pytest
import torch

from fewstep.methods.denoiser import Clipped, from_function
from fewstep.methods.distillation.tract import (
    Phase,
    ddim_step,
    edm_loss,
    heun_step,
    timesteps,
    tract_target,
    vp_loss,
)
from fewstep.methods.paths import EDM, VPCosine, expand
from fewstep.methods.scalings import edm_scalings
from fewstep.tests.methods.toy_networks import toy_edm, toy_network

EXACT = {"rtol": 1e-6, "atol": 1e-9}
VP = VPCosine()
OWN = EDM(0.01, 40.0)


def toy_vp(p):
    return lambda x, t: toy_network(x, VP.half_log_snr(t) / 5, p)


def cases(arrays):
    found = [name.removesuffix("_index_units") for name in arrays.names if name.endswith("_index_units")]
    assert found
    return found


def vp_case(arrays, case):
    """(the case's phase, its indices (3, B), their times)."""
    schedule, number = arrays[f"{case}_schedule"].tolist(), int(arrays[f"{case}_phase"])
    phase = Phase(schedule[0], schedule[number], schedule[number + 1])
    indices = phase.indices(arrays[f"{case}_index_units"], arrays[f"{case}_semi_units"])
    return phase, indices, timesteps(VP, phase.T)[indices]


def edm_case(arrays, case):
    steps, student_steps = arrays[f"{case}_schedule"].tolist()
    phase = Phase(steps, steps, student_steps)
    indices = phase.indices(arrays[f"{case}_index_units"], arrays[f"{case}_semi_index"])
    return phase, indices, timesteps(EDM(), steps)[indices]


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
        _, indices, times = vp_case(arrays, case)
        assert torch.equal(indices.double(), arrays[f"{case}_t_int"])
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
        phase, indices, times = edm_case(arrays, case)
        torch.testing.assert_close(timesteps(EDM(), phase.T), arrays[f"{case}_sigma_grid"], **EXACT)
        assert torch.equal(indices[::2].long(), arrays[f"{case}_index_triplet"][::2])
        assert torch.equal(indices[1].clamp(min=1), arrays[f"{case}_index_triplet"][1])
        x_t = EDM().noisy(toy["x0"], toy["noise"], times[0])
        torch.testing.assert_close(x_t, arrays[f"{case}_xt"], **EXACT)
        x_teacher = heun_step(EDM(), toy_mixture(EDM()), x_t, times[0], times[1])
        # Their step to noise 0 is none at all, and the target is overwritten; ours is Euler's.
        above = indices[1] > 0
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
    """TR-3: two steps to one, the self-teacher being the teacher, from a group's noisiest time."""
    teacher = toy_mixture(VP)
    group = torch.arange(len(toy["x0"])) % 4 + 1
    t, m, s = times = timesteps(VP, 8)[Phase(8, 8, 4).indices(group, torch.zeros_like(group))]
    x_t = VP.noisy(toy["x0"], toy["noise"], t)
    target = tract_target(VP, partial(ddim_step, VP, teacher), teacher, x_t, times)
    torch.testing.assert_close(target, progressive_target(teacher, x_t, t, m, s), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("path", "step"), [(VP, ddim_step), (EDM(), heun_step), (EDM(), ddim_step)])
def test_reference_toy_the_teachers_whole_chain_is_a_fixed_point(toy, toy_mixture, path, step):
    """TR-5: if the self-teacher's jumps are the teacher's chains, the target is the jump that is the chain."""
    teacher_step, T, size = partial(step, path, toy_mixture(path)), 12, 6
    times = timesteps(path, T)

    def chain(x, first, last):
        for i in range(first, last, -1):
            x = teacher_step(x, times[i].expand(len(x)), times[i - 1].expand(len(x)))
        return x

    def jump(x, first, last):
        return path.x0_of_step(x, chain(x, first, last), times[first], times[last])

    for group in (1, 2):
        for k in range(size):
            i, middle, last = Phase(T, T, T // size).indices(*map(torch.tensor, (group, k)))
            at = times[torch.stack([i, middle, last])][:, None].expand(3, len(toy["x0"]))
            x_t = path.noisy(toy["x0"], toy["noise"], at[0])
            target = tract_target(path, teacher_step, lambda x, t, m=middle, s=last: jump(x, m, s), x_t, at)
            torch.testing.assert_close(target, jump(x_t, i, last), rtol=1e-9, atol=1e-9)


def test_edm_weight_is_one_in_the_networks_output():
    """TR-6: EDM's lambda = (s^2 + sd^2)/(s sd)^2 on D is 1 on F, since D = c_skip x + c_out F."""
    sigma = timesteps(EDM(), 40)[1:]
    _, c_out, _ = edm_scalings(sigma, 0.5)
    torch.testing.assert_close((sigma**2 + 0.25) / (0.5 * sigma) ** 2 * c_out**2, torch.ones_like(sigma))


def test_reference_toy_the_last_step_to_noise_zero_learns_the_teachers_denoiser(toy, toy_mixture):
    """TR-6: from the smallest level the chain is one Euler step to 0."""
    path, x_t = EDM(), toy["x0"] + 0.002 * toy["noise"]
    times = timesteps(path, 8)[torch.tensor([1, 0, 0])][:, None].expand(3, len(x_t))
    for step in (ddim_step, heun_step):
        target = tract_target(path, partial(step, path, toy_mixture(path)), toy_edm(toy["p_target"]), x_t, times)
        torch.testing.assert_close(target, toy_mixture(path)(x_t, 0.002), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("phase", [Phase(32, 32, 4), Phase(32, 4, 1), Phase(1024, 32, 1), Phase(40, 40, 2)])
def test_drawn_pairs_are_teacher_times_inside_student_intervals(phase):
    t, middle, s = phase.random_indices(4000, torch.Generator().manual_seed(0))
    step, semi = phase.T // phase.student_steps, phase.T // phase.teacher_steps
    assert ((s <= middle) & (middle == t - semi) & (t - s <= step)).all()
    assert (s % step == 0).all()
    assert set(t.tolist()) == set(range(semi, phase.T + 1, semi))
