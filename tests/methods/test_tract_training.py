"""TRACT as it runs: phases, averages, costs, kills, sampling, and what it reaches."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench.training import loop as training
from fewstep.methods import registry, saved, solvers
from fewstep.methods.denoiser import EDMDenoiser, Guided, metered
from fewstep.methods.distillation.tract import Tract, timesteps
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, VPCosine
from fewstep.methods.specs.tract import TractOptions
from fewstep.tests.methods import killing, toy2d

VP = VPCosine()

OWN = EDM(0.01, 40.0)


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
    method = Watched(
        killing.small_teacher(), TractOptions(batch=8, shares=(3, 1), warmup_steps=4, restart=True, learning_rate=1e-3)
    )
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
    method = Watched(
        killing.small_teacher(), TractOptions(batch=8, learning_rate=1e-3, learning_rate_decay=decay, warmup_steps=4)
    )
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
    times = timesteps(path, 32)[:: 32 // nfe].flip(0)
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
