"""Students of several steps on true paths: the loss, what it shares with Bespoke, exactness, and what it costs."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.training import loop as training
from fewstep.methods import registry, saved, solvers
from fewstep.methods.denoiser import EDMDenoiser, Guided, from_function, metered
from fewstep.methods.distillation.knowledge import Knowledge, knowledge
from fewstep.methods.distillation.knowledge_steps import KnowledgeSteps, euler_step, landing_loss
from fewstep.methods.learned_solvers.bespoke import Bespoke
from fewstep.methods.learned_solvers.ground_truth import Flow
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM, FlowOT, expand
from fewstep.methods.randomness import noise
from fewstep.methods.specs.bespoke import BespokeOptions
from fewstep.methods.specs.knowledge import KnowledgeOptions
from fewstep.methods.uses import divided
from fewstep.tests.methods import killing, toy2d

PATH, STD = EDM(0.01, 40.0), 0.75


def options(steps=3, **given):
    return KnowledgeOptions(loss="lte", steps=steps, **given)


def made(teacher=None, seed=0, **given):
    method = knowledge(teacher or killing.small_teacher(), options(**given), seed)
    assert isinstance(method, KnowledgeSteps)
    return method


def exact_teacher():
    """Data N(0, 0.75^2): the flow's map from r to s is a factor."""
    teacher = from_function(lambda x, t: expand(STD**2 / (STD**2 + t**2), x) * x, PATH)
    teacher.sample_shape = (2,)
    return teacher


def factor(r, s, span):
    """x_s / x_r of the Gaussian's flow: the ratio of the standard deviations, V(t) = (1 - t)^2 S^2 + t^2."""

    def std(r):
        t = span * (1 - r)
        return ((1 - t) ** 2 * STD**2 + t**2) ** 0.5

    return std(s) / std(r)


class LinearPerLevel(nn.Module):
    """F = a_i x, a number for each level that a student of `steps` steps asks about."""

    def __init__(self, flow, steps):
        super().__init__()
        r = torch.linspace(0, 1, steps + 1, dtype=torch.float64)[:-1]
        self.register_buffer("known", (flow.denoiser.path.noise_level(flow.time(r)).clamp(max=40).log() / 4).float())
        self.a = nn.Parameter(torch.zeros(steps))

    def forward(self, x, c_noise, condition=None):
        nearest = (c_noise[:, None] - self.known).abs()
        assert float(nearest.amin(1).max()) < 1e-4
        return self.a[nearest.argmin(1), None] * x


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_steps_that_can_be_exact_become_it(steps):
    """On a Gaussian each step is a factor: a student that has one for each level ends on the flow's own sample."""
    exact = exact_teacher()
    flow = Flow.of(exact, FlowOT())
    teacher = EDMDenoiser(LinearPerLevel(flow, steps), STD, PATH).requires_grad_(False)
    teacher.sample_shape = (2,)
    method = made(teacher, steps=steps, batch=32, truth={"trajectories": 64}, learning_rate=0.05, ema=0.0)
    method.flow = flow
    optimizer, z = method.configure_optimizers(), noise(3, "z", range(20), (2,))
    span = flow.span
    expected = factor(0.0, 1.0, span) * span * z
    method.update_averages()
    assert steps == 1 or float((method.sample(z, steps) - expected).abs().max()) > 0.05
    for step in range(300):
        method.spent = step / 300
        optimizer.param_groups[0]["lr"] = 0.05 * method.learning_rate_factor(step, method.spent)
        optimizer.zero_grad()
        method.training_step({"step": step}, 0).backward()
        optimizer.step()
        method.update_averages()
    torch.testing.assert_close(method.sample(z, steps), expected, rtol=2e-3, atol=2e-3)


def test_the_loss_is_the_sum_of_the_steps_misses_each_from_the_true_path():
    flow = Flow.of(exact_teacher(), FlowOT())
    r = torch.linspace(0, 1, 4, dtype=torch.float64)
    x = [flow.span * torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)]
    misses = torch.zeros(5, dtype=torch.float64)
    for r_i, s in zip(r[:-1].tolist(), r[1:].tolist(), strict=True):
        t = flow.span * (1 - r_i)
        V = (1 - t) ** 2 * STD**2 + t**2
        velocity = -flow.span * (t - (1 - t) * STD**2) / V * x[-1]
        x.append(factor(r_i, s, flow.span) * x[-1])
        misses += (x[-2] + (s - r_i) * velocity - x[-1]).square().mean(1)
    torch.testing.assert_close(landing_loss(flow, r, torch.stack(x)), misses, rtol=1e-9, atol=1e-12)


def test_a_step_of_euler_on_the_flow_is_ddims():
    flow, x = Flow.of(toy2d.exact(), FlowOT()), torch.randn(4, 2, dtype=torch.float64)
    r, s = torch.tensor(0.2, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    t = flow.time(r)
    ddim = flow.denoiser.path.ddim_step(x, flow.denoiser(x, t), t, flow.time(s))
    torch.testing.assert_close(euler_step(flow, x, r, s), ddim, rtol=1e-9, atol=1e-9)


def test_it_learns_from_the_paths_of_bespoke_at_their_price():
    """The same noises, labels, lots, tolerance and charge, of a guided teacher."""
    methods, charged = [], []
    for make in (Bespoke, knowledge):
        truth = {"trajectories": 20, "tolerance": 1e-2}
        given = BespokeOptions(batch=4, **truth) if make is Bespoke else options(batch=4, truth=truth)
        method = make(Guided(killing.small_teacher(classes=3), 2.0), given, seed=4)
        for step in range(3):
            method.spent = 0.1 * step
            with metered() as meter, divided(lambda meter=meter: meter.forwards) as spent:
                method.training_step({"step": step}, 0)
            charged.append(spent.finish().get("ground truth", 0))
        methods.append(method)
    one, other = (method.truth for method in methods)
    assert int(one.solved) == int(other.solved) == 20
    for key in ("states", "slopes", "labels"):
        assert torch.equal(getattr(one, key), getattr(other, key))
    assert charged[:3] == charged[3:]
    assert charged[0] > 0
    assert charged[1] > 0


def test_what_is_charged(tmp_path):
    """The paths once; of each sample a forward for each step of the student, and its backward."""
    method = made(steps=4, batch=8, truth={"trajectories": 8, "tolerance": 1e-1})
    with FlopCounterMode(display=False) as counter:
        ledger = killing.train(method, 2000, tmp_path)
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    spent = {use: flops / ledger.flops_per_evaluation for use, flops in ledger.uses.items()}
    assert spent["student forward"] == pytest.approx(4 * 8 * ledger.steps)
    assert spent["ground truth"] > 8 * 33
    assert ledger.steps > 10


def test_sampling_takes_an_evaluation_a_step_and_nothing_else():
    method, z = made(steps=5).eval(), noise(0, "z", range(3), (2,))
    with metered() as meter:
        method.sample(z, 5)
    assert (meter.evaluations, meter.forwards) == (15, 15)
    for nfe in (1, 4):
        with pytest.raises(UnreachableNFE, match="5 steps"):
            method.sample(z, nfe)
    spec = registry.method("knowledge")
    assert spec.refusal(5, options(steps=5)) is None
    assert spec.refusal(4, options(steps=5)) == "the student has 5 steps, an evaluation each: NFE 5 only"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 4}, "4 steps are taught by loss: lte"),
        ({"truth": {"trajectories": 9}}, "truth describes the paths of loss: lte"),
        ({"loss": "lte", "solver_nfe": 20}, "solver_nfe describes the pairs of loss: sample"),
        ({"loss": "lte", "pairs_share": 1.0}, "pairs_share describes the pairs of loss: sample"),
    ],
)
def test_options_of_the_other_loss_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        KnowledgeOptions.model_validate(given)


def test_one_step_on_pairs_stays_the_default():
    assert isinstance(knowledge(killing.small_teacher(), KnowledgeOptions()), Knowledge)
    unknown = killing.small_teacher()
    unknown.sample_shape = None
    with pytest.raises(ValueError, match="needs the teacher's sample_shape"):
        made(unknown)


@pytest.mark.parametrize("step", [3])
def test_killed_and_resumed_or_saved_and_loaded_it_is_the_same(tmp_path, monkeypatch, step):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)

    def run(folder, kill=None):
        method = made(batch=4, truth={"trajectories": 12, "tolerance": 1e-1})
        return method, killing.train(method, 2_000, folder, kill)

    undisturbed, expected = run(tmp_path / "a")
    with pytest.raises(killing.Killed):
        run(tmp_path / "b", step)
    resumed, ledger = run(tmp_path / "b")
    assert killing.same(resumed, undisturbed)
    assert (ledger.flops, ledger.steps, ledger.uses) == (expected.flops, expected.steps, expected.uses)
    saved.save(resumed, "knowledge", resumed.options, tmp_path / "student")
    z = noise(0, "z", range(3), (2,))
    assert torch.equal(saved.load(tmp_path / "student", killing.small_teacher()).sample(z, 3), resumed.sample(z, 3))


@pytest.mark.slow
def test_more_steps_come_closer_to_the_truth(tmp_path):
    errors = []
    z = noise(0, "toy-start", range(500), (2,))
    truth = solvers.get("rk45", tolerance=1e-5).sample(toy2d.teacher(), z)
    for steps in (2, 6):
        method = made(toy2d.teacher(), steps=steps, batch=64, truth={"trajectories": 512})
        toy2d.train(method, 300_000, tmp_path / str(steps))
        errors.append(float((method.sample(z, steps) - truth).square().mean().sqrt()))
    assert errors[1] < 0.8 * errors[0]
