"""Rectified flow: the authors' losses, gradients and sampler; straight lines; what a run costs and reaches."""

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench.training import loop as training
from fewstep.methods import registry, solvers
from fewstep.methods.denoiser import metered
from fewstep.methods.distillation.rectified_flow import (
    EPS,
    RectifiedFlow,
    distil_times,
    euler_flow,
    flow_velocity,
    rectified_flow_loss,
    reflow_times,
)
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowOT
from fewstep.methods.randomness import noise
from fewstep.methods.specs.rectified_flow import RectifiedFlowOptions
from fewstep.tests.methods import killing, toy2d
from fewstep.tests.methods.toy_networks import toy_network

EXACT = {"rtol": 1e-6, "atol": 1e-9}
START = noise(0, "toy-start", range(2000), (2,))


def toy_velocity(p):
    """The toy network with tau = 3 r."""
    return lambda u, r: toy_network(u, 3 * r, p)


def loss_cases(arrays):
    cases = [key.removesuffix("_loss") for key in arrays.names if key.endswith("_loss")]
    assert cases
    return cases


def test_reference_losses_and_gradients(reference, toy):
    arrays = reference("distill/kd_reflow")
    for case in loss_cases(arrays):
        p = toy["p_student"].clone().requires_grad_(True)
        loss = rectified_flow_loss(toy_velocity(p), toy["noise"], toy["x0"], arrays[f"{case}_t"])
        torch.testing.assert_close(loss, arrays[f"{case}_loss"], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), p)
        torch.testing.assert_close(gradient, arrays[f"{case}_grad"], **EXACT)


def test_reference_states_and_targets(reference, toy):
    """What the velocity is asked, and what it is taught: seen by a velocity that keeps its input and answers 0."""
    arrays = reference("distill/kd_reflow")
    for case in loss_cases(arrays):
        asked = []

        def still(x, r, asked=asked):
            asked.append(x)
            return torch.zeros_like(x)

        loss = rectified_flow_loss(still, toy["noise"], toy["x0"], arrays[f"{case}_t"])
        torch.testing.assert_close(asked[0], arrays[f"{case}_x_t"], **EXACT)
        torch.testing.assert_close(loss, arrays[f"{case}_target"].square().flatten(1).mean(1), **EXACT)


def test_reference_times(reference):
    """Reflow: uniform in [eps, 1). A distillation for k steps: the draws are 0, 1, ..., k - 1 in turn."""
    arrays = reference("distill/kd_reflow")
    for case in loss_cases(arrays):
        times = arrays[f"{case}_t"]
        distilled = re.fullmatch(r"distill_k(\d+)", case)
        if distilled:
            steps = int(distilled[1])
            own = distil_times(torch.arange(len(times)) % steps, steps)
        else:
            own = reflow_times(arrays["uniform"])
        torch.testing.assert_close(own, times, **EXACT)


def test_reference_euler_samples(reference, toy_mixture):
    arrays = reference("distill/kd_reflow")
    found = [key for key in arrays.names if key.startswith("rf_euler_")]
    assert found
    denoiser = toy_mixture(FlowOT())
    for key in found:
        steps = int(key.rpartition("_")[2])
        with metered() as meter:
            x0 = euler_flow(lambda x, r: flow_velocity(denoiser, x, r), arrays["rf_z0"], steps)
        torch.testing.assert_close(x0, arrays[key], **EXACT)
        assert meter.evaluations == steps * len(x0)


def test_reference_velocity_of_an_edm_teacher_is_that_of_the_flow(toy, toy_mixture):
    """The teacher's network, asked on the flow, has the flow's own velocity wherever the teacher's path reaches."""
    converted, direct = toy_mixture(EDM(0.002, 1e4)).on(FlowOT()), toy_mixture(FlowOT())
    r = torch.linspace(EPS, 1 - EPS, 8, dtype=torch.float64)
    x = FlowOT().noisy(toy["x0"], toy["noise"], 1 - r)
    torch.testing.assert_close(flow_velocity(converted, x, r), flow_velocity(direct, x, r), rtol=1e-9, atol=1e-9)


def straight(mean, scale):
    """The flow of the coupling x0 = m + s z: x_r = r m + (r s + 1 - r) z, v = m + (s - 1) z."""

    def velocity(x, r):
        r = r.reshape(-1, *[1] * (x.ndim - 1)) if r.ndim else r
        z = (x - r * mean) / (r * scale + 1 - r)
        return mean + (scale - 1) * z

    return velocity


def test_reference_a_straight_flow_has_no_loss_and_needs_one_step(toy):
    """What reflow aims at: on a coupling whose lines do not cross, the loss is 0 and Euler is exact up to eps."""
    mean, scale, z = toy["gauss_mean"], toy["gauss_var"].sqrt(), toy["zlat"]
    x0 = mean + scale * z
    r = torch.linspace(EPS, 0.99, len(z), dtype=torch.float64)
    velocity = straight(mean, scale)
    assert float(rectified_flow_loss(velocity, z, x0, r).max()) < 1e-25
    for steps in (1, 3, 10):
        torch.testing.assert_close(euler_flow(velocity, z, steps), x0, rtol=0, atol=10 * EPS)


def test_reference_eulers_error_falls_with_the_first_order(toy, toy_gaussian):
    """On a Gaussian's own flow, whose paths are curved: x0 = m + sqrt(v) z, to which a bias of eps remains."""
    mean, scale, z = toy["gauss_mean"], toy["gauss_var"].sqrt(), toy["zlat"]
    denoiser = toy_gaussian(FlowOT())

    def error(steps):
        x0 = euler_flow(lambda x, r: flow_velocity(denoiser, x, r), z, steps)
        return float((x0 - (mean + scale * z)).square().mean().sqrt())

    assert error(8) / error(16) == pytest.approx(2, abs=0.3)


def test_the_distilled_nfe_is_the_only_one():
    options = RectifiedFlowOptions(distil=2)
    method = RectifiedFlow(killing.small_teacher(), options)
    assert method.sample(START, 2).shape == START.shape
    with pytest.raises(UnreachableNFE, match="NFE 2 only"):
        method.sample(START, 1)
    spec = registry.method("rectified-flow")
    assert spec.refusal(1, options) == "the flow was distilled to be sampled at NFE 2 only"
    assert spec.refusal(2, options) is None
    assert spec.refusal(7, RectifiedFlowOptions()) is None
    assert spec.refusal(7) is None


def test_every_stage_is_charged_for_what_it_does(tmp_path):
    method = RectifiedFlow(killing.small_unet(), RectifiedFlowOptions(batch=16, distil=1, pairs_share=0.5))
    with FlopCounterMode(display=False) as counter:
        ledger = killing.train(method, 4000, tmp_path, data=datasets.get("digits"))
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    cost = {kind: flops / ledger.flops_per_evaluation / 16 for kind, flops in ledger.step_flops.items()}
    making = method.options.solver_nfe + 3
    expected = {"reflow pairs": making, "reflow": 3, "distil pairs": making, "distil": 3}
    assert cost == pytest.approx(expected, rel=0.02)
    assert 4000 - 16 * 3 < ledger.evaluations <= 4000


def test_distillation_learns_from_the_flow_as_the_reflow_left_it(tmp_path):
    """The second stage's pairs are the averaged reflow's Euler solutions; they replace the teacher's."""
    method = RectifiedFlow(killing.small_teacher(), RectifiedFlowOptions(batch=16, distil=1))
    given = [p.clone() for p in method.flow.parameters()]
    killing.train(method, 5000, tmp_path)
    assert method.distilling
    flow, z = method.flow, method.pairs.noise
    x0 = euler_flow(lambda x, r: flow_velocity(flow, x, r), z, method.options.solver_nfe)
    torch.testing.assert_close(method.pairs.x0, x0, rtol=1e-5, atol=1e-5)
    for other in (given, list(method.student.parameters())):
        assert any(not torch.equal(p, q) for p, q in zip(flow.parameters(), other, strict=True))
    assert all(p.grad is None for p in flow.parameters())


@pytest.mark.parametrize("step", [1, 3, 7, 16, 21, 40])
def test_killed_in_any_stage_it_ends_the_same(tmp_path, monkeypatch, step):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)

    def run(folder, kill=None):
        options = RectifiedFlowOptions(batch=8, distil=1, solver_nfe=8)
        method = RectifiedFlow(killing.small_teacher(), options)
        kinds = []
        original = method.training_step

        def watched(batch, batch_idx):
            kinds.append(method.step_kind(batch["step"]))
            return original(batch, batch_idx)

        method.training_step = watched
        try:
            return method, killing.train(method, 1500, folder, kill)
        finally:
            stages.extend(kinds)

    stages = []
    undisturbed, expected = run(tmp_path / "a")
    changes = [stages.index(kind) for kind in ("reflow pairs", "reflow", "distil pairs", "distil")]
    assert changes == sorted(changes)
    assert changes[-1] < 40 < expected.steps
    with pytest.raises(killing.Killed):
        run(tmp_path / "b", step)
    resumed, ledger = run(tmp_path / "b")
    assert killing.same(resumed, undisturbed)
    assert torch.equal(resumed.pairs.x0, undisturbed.pairs.x0)
    assert (ledger.flops, ledger.steps, ledger.uses) == (expected.flops, expected.steps, expected.uses)


@pytest.fixture
def trained(tmp_path):
    """options -> the trained method, at 150 000 evaluations on the 2-D mixture."""

    def train(**options):
        teacher = toy2d.teacher()
        teacher.sample_shape = (2,)
        method = RectifiedFlow(teacher, RectifiedFlowOptions(batch=256, **options))
        assert toy2d.train(method, 150_000, tmp_path).evaluations <= 150_000
        return method

    return train


def test_reflow_makes_few_euler_steps_enough(trained):
    """Measured: 0.114, 0.050, 0.051 at 1, 2, 4 steps, where the teacher's flow has 0.707, 0.697, 0.26 or more."""
    method = trained()
    distance = {nfe: toy2d.swd(method.sample(START, nfe)) for nfe in (1, 2, 4)}
    assert distance[1] < 0.15
    assert distance[2] < 0.08
    assert distance[4] < 0.08
    unstraightened = RectifiedFlow(method.teacher, RectifiedFlowOptions())
    for nfe in (1, 2, 4):
        assert toy2d.swd(unstraightened.sample(START, nfe)) > 2 * distance[nfe]
    truth = solvers.get("rk45", tolerance=1e-5).sample(method.teacher, START)
    assert float((method.sample(START, 4) - truth).square().mean().sqrt()) < 0.06


def test_the_distilled_form_gives_the_mixture_in_one_evaluation(trained):
    """Measured: 0.059."""
    method = trained(distil=1)
    with metered() as meter:
        x0 = method.sample(START, 1)
    assert meter.evaluations == len(START)
    assert toy2d.swd(x0) < 0.1
