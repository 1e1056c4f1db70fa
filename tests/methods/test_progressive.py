"""Progressive distillation against the authors' targets, losses, gradients and samplers, and as a run of phases."""

from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench import training
from fewstep.methods import registry, solvers
from fewstep.methods.denoiser import Clipped, Denoiser, EDMDenoiser, NetworkDenoiser, from_function, metered
from fewstep.methods.distillation.progressive import (
    Progressive,
    halved_step,
    progressive_loss,
    sampler,
    step_times,
)
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.options import ProgressiveOptions
from fewstep.methods.paths import EDM, FlowOT, VPCosine, VPLinear
from fewstep.methods.randomness import generator, noise
from fewstep.methods.teachers.analytic import MixtureDenoiser
from fewstep.tests.methods import killing, toy2d

EXACT = {"rtol": 1e-6, "atol": 1e-9}
PATHS = {"edm": EDM(), "vp-cosine": VPCosine()}
WEIGHTS = {
    "constant": "uniform",
    "uniform": "uniform",
    "snr": "snr",
    "snr_trunc": "truncated-snr",
    "truncated_snr": "truncated-snr",
    "v_mse": "snr+1",
    "snrp1": "snr+1",
}
START = noise(0, "start", range(2000), (2,))


def toy_function(p: Tensor, u: Tensor, tau: Tensor) -> Tensor:
    """N(u, tau; p) = p0 u + p1 tanh(2u) + p2 sin(tau + u) + p3 cos(tau)."""
    tau = tau.reshape(-1, 1, 1, 1)
    return p[0] * u + p[1] * torch.tanh(2 * u) + p[2] * torch.sin(tau + u) + p[3] * torch.cos(tau)


class VPNetwork(nn.Module):
    """The references' network on the cosine path: tau = logsnr/10, one toy function for each part of the output."""

    def __init__(self, *parameters: Tensor) -> None:
        super().__init__()
        self.p = nn.ParameterList(p.clone() for p in parameters)

    def forward(self, x, t, condition):
        tau = 2 * VPCosine().half_log_snr(t) / 10
        return torch.cat([toy_function(p, x, tau) for p in self.p], dim=1)


class EDMNetwork(nn.Module):
    """The references' network under EDM's scalings: tau = 250 ln t."""

    def __init__(self, p: Tensor) -> None:
        super().__init__()
        self.p = nn.ParameterList([p.clone()])

    def forward(self, x, c_noise, condition):
        return toy_function(self.p[0], x, 1000 * c_noise)


def steps_of(arrays):
    return sorted({int(name.split("_")[0][1:]) for name in arrays.names if name.endswith("_indices")})


def student_of(output: str, toy) -> Denoiser:
    if output == "edm":
        return EDMDenoiser(EDMNetwork(toy["p_student"]), 0.5, EDM())
    parameters = [toy["p_student"], toy["p_target"]] if output == "both" else [toy["p_student"]]
    return NetworkDenoiser(VPNetwork(*parameters), VPCosine(), {"x": "x0"}.get(output, output))


def test_reference_targets_on_the_cosine_path(reference, toy, toy_mixture):
    """PD-2: the targets of the authors' steps."""
    arrays, path = reference("distill/pd_vp"), VPCosine()
    assert steps_of(arrays)
    for n in steps_of(arrays):
        expected = {name: arrays[f"N{n}_{name}"] for name in ("u", "logsnr_t", "z", "x_target", "x_target_official")}
        t, m, s = step_times(path, "vp-cosine", n, n - 1 - arrays[f"N{n}_indices"])
        torch.testing.assert_close(t, expected["u"], **EXACT)
        torch.testing.assert_close(2 * path.half_log_snr(t), expected["logsnr_t"], **EXACT)
        torch.testing.assert_close(2 * path.half_log_snr(m), arrays[f"N{n}_logsnr_mid"], **EXACT)
        z = path.noisy(toy["x0"], toy["noise"], t)
        torch.testing.assert_close(z, expected["z"], **EXACT)
        target = halved_step(toy_mixture(path), z, t, m, s)
        torch.testing.assert_close(target, expected["x_target"], **EXACT)
        torch.testing.assert_close(target, expected["x_target_official"], **EXACT)
        torch.testing.assert_close(path.eps(z, target, t), arrays[f"N{n}_eps_target"], **EXACT)
        torch.testing.assert_close(path.v(z, target, t), arrays[f"N{n}_v_target"], **EXACT)


def test_reference_losses_and_gradients_on_the_cosine_path(reference, toy, toy_mixture):
    """PD-2: every output of the paper (x, eps, v, both) with every weight."""
    arrays, path = reference("distill/pd_vp"), VPCosine()
    keys = [name for name in arrays.names if name.endswith("_loss")]
    assert keys
    for key in keys:
        prefix, output, weight = key.removesuffix("_loss").split("_", 2)
        n, student = int(prefix[1:]), student_of(output, toy)
        t, m, s = step_times(path, "vp-cosine", n, n - 1 - arrays[f"{prefix}_indices"])
        loss = progressive_loss(student, toy_mixture(path), toy["x0"], toy["noise"], t, m, s, WEIGHTS[weight])
        torch.testing.assert_close(loss, arrays[key], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), student.network.p[0])
        torch.testing.assert_close(gradient, arrays[key.replace("_loss", "_grad")], **EXACT)


def test_reference_targets_losses_and_gradients_on_the_edm_path(reference, toy, toy_mixture):
    """PD-3."""
    arrays, path = reference("distill/pd_edm"), EDM()
    keys = [name for name in arrays.names if name.endswith("_loss")]
    assert keys
    for key in keys:
        prefix, weight = key.removesuffix("_loss").split("_", 1)
        t, m, s = step_times(path, "edm", int(prefix[1:]), arrays[f"{prefix}_indices"])
        for time, name in ((t, "t"), (m, "t_mid"), (s, "t_end")):
            torch.testing.assert_close(time, arrays[f"{prefix}_{name}"], **EXACT)
        target = halved_step(toy_mixture(path), arrays[f"{prefix}_x_t"], t, m, s)
        torch.testing.assert_close(target, arrays[f"{prefix}_target"], **EXACT)
        student = student_of("edm", toy)
        loss = progressive_loss(student, toy_mixture(path), toy["x0"], toy["noise"], t, m, s, WEIGHTS[weight])
        torch.testing.assert_close(loss, arrays[key], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), student.network.p[0])
        torch.testing.assert_close(gradient, arrays[key.replace("_loss", "_grad")], **EXACT)


def test_reference_sampling_on_the_cosine_path_with_and_without_clipping(reference, toy, toy_mixture):
    """PD-7."""
    arrays, mixture = reference("distill/pd_vp"), toy_mixture(VPCosine())
    keys = [name for name in arrays.names if name.startswith("sample_ddim_")]
    assert keys
    for key in keys:
        _, _, n, clip = key.split("_")
        denoiser = Clipped(mixture, 1.0) if clip == "clip1" else mixture
        # Theirs starts from the unit noise itself, ours from sigma(1) = 1 - 1e-9 times it.
        start = toy["zlat"] / mixture.path.sigma(1.0)
        torch.testing.assert_close(sampler("vp-cosine").sample(denoiser, start, nfe=int(n)), arrays[key], **EXACT)


def test_reference_sampling_on_the_edm_path_ends_at_sigma_min(reference, toy, toy_mixture):
    arrays = reference("distill/pd_edm")
    keys = [name for name in arrays.names if name.startswith("sample_progdist_")]
    assert keys
    for key in keys:
        x0 = sampler("edm", "min").sample(toy_mixture(EDM()), toy["zlat"], nfe=int(key.split("_")[-1]))
        torch.testing.assert_close(x0, arrays[key], **EXACT)


def test_reference_two_gaussian_steps_and_their_inversion(reference, toy_gaussian):
    arrays, path = reference("distill/gaussian_exact"), VPCosine()
    found = [name.removesuffix("_idx") for name in arrays.names if name.startswith("pd_N") and name.endswith("_idx")]
    assert found
    for prefix in found:
        n, z, teacher = int(prefix.split("N")[1]), arrays[f"{prefix}_z"], toy_gaussian(path)
        t = (arrays[f"{prefix}_idx"].double() + 1) / n
        m, s = t - 0.5 / n, t - 1 / n
        z_m = path.ddim_step(z, teacher(z, t), t, m)
        z_s = path.ddim_step(z_m, teacher(z_m, m), m, s)
        torch.testing.assert_close(z_s, arrays[f"{prefix}_z_s"], **EXACT)
        torch.testing.assert_close(halved_step(teacher, z, t, m, s), arrays[f"{prefix}_xtarget_formula"], **EXACT)


@pytest.mark.parametrize("name", PATHS)
def test_at_a_point_mass_every_target_is_the_point(name):
    """PD-4: there the teacher's DDIM is exact, whatever the step."""
    path, point = PATHS[name], torch.tensor([[0.3, -0.7]])
    teacher = MixtureDenoiser(torch.ones(1), point, torch.zeros(1), path)
    t, m, s = step_times(path, name, 4, torch.arange(4))
    x = path.noisy(point.double().expand(4, 2), torch.randn(4, 2, dtype=torch.float64), t)
    torch.testing.assert_close(halved_step(teacher, x, t, m, s), point.double().expand(4, 2), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", PATHS)
def test_the_papers_losses_on_eps_and_v_are_weights_on_x0(name, toy, toy_mixture):
    """PD-5: snr_trunc is the larger of the x- and the eps-error; on a VP path v's error is (SNR + 1) times x0's."""
    path, x0, eps = PATHS[name], toy["x0"], toy["noise"]
    t, m, s = step_times(path, name, 8, torch.arange(8))
    student = from_function(lambda x, t: 0.7 * x + 0.1, path)
    x_t = path.noisy(x0, eps, t)
    target, estimate = halved_step(toy_mixture(path), x_t, t, m, s), student(x_t, t)

    def error(of):
        return (of(x_t, estimate, t) - of(x_t, target, t)).square().flatten(1).mean(1)

    def loss(weight):
        return progressive_loss(student, toy_mixture(path), x0, eps, t, m, s, weight)

    torch.testing.assert_close(loss("snr"), error(path.eps))
    torch.testing.assert_close(loss("truncated-snr"), torch.maximum(loss("uniform"), error(path.eps)))
    if name == "vp-cosine":
        torch.testing.assert_close(loss("snr+1"), error(path.v))


def affine_student(teacher: Denoiser, name: str, steps: int) -> Denoiser:
    """The student that fits every target exactly where the data are Gaussian: affine in x at each of its steps."""
    path, fits = teacher.path, []
    x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None].expand(5, 2)
    for i in range(steps):
        t, m, s = step_times(path, name, steps, torch.full((5,), i))
        target = halved_step(teacher, x * path.sigma(t)[0], t, m, s)
        features = torch.stack([torch.ones(5, dtype=torch.float64), x[:, 0] * path.sigma(t)[0]], 1)
        fits.append(torch.linalg.lstsq(features, target).solution)
    starts = step_times(path, name, steps, torch.arange(steps))[0]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        nearest = (t.reshape(-1, 1) - starts).abs().argmin(1)
        offset, slope = torch.stack(fits)[nearest].unbind(1)
        return offset + slope * x

    return from_function(denoise, path)


@pytest.mark.parametrize("name", PATHS)
def test_a_student_without_error_samples_as_the_first_teacher_did(name, toy_gaussian):
    """PD-6: four halvings lose nothing but what the students fail to learn."""
    end = "min" if name == "edm" else "zero"
    teacher = toy_gaussian(PATHS[name])
    gaussian = type(teacher)(torch.tensor([0.2, -0.4]).double(), torch.tensor([0.3, 0.05]).double(), PATHS[name])
    start = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = sampler(name, end).sample(gaussian, start, nfe=16)
    student: Denoiser = gaussian
    for steps in (8, 4, 2, 1):
        student = affine_student(student, name, steps)
        torch.testing.assert_close(sampler(name, end).sample(student, start, nfe=steps), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("path", [EDM(), VPCosine(), VPLinear(), FlowOT()], ids=lambda path: type(path).__name__)
def test_a_ddim_step_from_the_inverse_step_lands_where_it_should(path):
    """PD-1, also where the step ends at clean data."""
    x, x_s = torch.randn(2, 7, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = path.t_max * torch.linspace(0.3, 0.9, 7, dtype=torch.float64)
    for s in (0.6 * t, path.time_at(0.0).expand(7)):
        landed = path.ddim_step(x, path.x0_of_step(x, x_s, t, s), t, s)
        torch.testing.assert_close(landed, x_s, rtol=1e-12, atol=1e-12)


def test_the_inverse_step_holds_in_float32_for_thousands_of_steps(toy, toy_mixture):
    """Neighbouring times: the two products in the denominator agree to three digits."""
    path = VPCosine()
    t, _, s = step_times(path, "vp-cosine", 4096, torch.arange(8) * 500)
    x = path.noisy(toy["x0"], toy["noise"], t)
    x_s = path.ddim_step(x, toy["x0"], t, s)
    single = path.x0_of_step(x.float(), x_s.float(), t, s).double()
    rounding = 2**-23 * x_s.abs().max() / (path.sigma(t) * path.alpha(s) - path.sigma(s) * path.alpha(t)).min()
    assert (single - toy["x0"]).abs().max() < 2 * rounding


def small(**options) -> ProgressiveOptions:
    return ProgressiveOptions(**{"start_steps": 8, "batch": 8, **options})


def batch(step=0, size=8):
    return {"step": step, "x0": torch.randn(size, 2, generator=torch.Generator().manual_seed(step)), "labels": None}


def test_the_phases_divide_the_budget_as_declared():
    default = ProgressiveOptions()
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
    method = Progressive(toy2d.teacher(), ProgressiveOptions(path=request.param, batch=256))
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
