"""The budget is measured, obeyed, and survives a kill; every run is a function of its seed."""

import copy
import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench.errors import TaskError
from fewstep.bench.stages import preview
from fewstep.bench.training import loop as training
from fewstep.bench.training import step_meter
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import DivergedError, fit
from fewstep.bench.training.tracking import PREVIEWS, NoTracker, Record, read_events, read_previews
from fewstep.methods.denoiser import EDMDenoiser, Guided
from fewstep.methods.distillation.consistency import Consistency
from fewstep.methods.learned_solvers.bespoke import Bespoke
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.paths import EDM
from fewstep.methods.specs.bespoke import BespokeOptions
from fewstep.methods.specs.consistency import ConsistencyOptions
from fewstep.methods.specs.teachers.pretrain import MLPOptions, PretrainOptions
from fewstep.methods.teachers.analytic import MixtureDenoiser
from fewstep.methods.teachers.pretrain import Pretrain
from fewstep.tests.methods import killing


def mlp_teacher(classes=0):
    torch.manual_seed(0)
    network = ResidualMLP(2, width=16, blocks=1, classes=classes)
    nn.init.normal_(network.out.weight, std=0.3)
    return EDMDenoiser(network, 0.75, EDM(0.01, 40.0)).requires_grad_(False)


def guided_teacher():
    """A conditional network of mixture-2d, under guidance."""
    network = mlp_teacher(classes=8)
    network.class_counts = (1,) * 8
    return Guided(network, 2.0)


def unet_teacher():
    torch.manual_seed(0)
    return EDMDenoiser(SmallUNet(1, 8, (1, 2)), 0.75, EDM(0.01, 40.0)).requires_grad_(False)


def consistency_run(folder, teacher, data="mixture-2d", budget=600.0, seed=0, tracker=None, **options):
    unit = forward_flops(teacher, torch.randn(2, *datasets.get(data).shape))
    method = Consistency(teacher, ConsistencyOptions(batch=8, **options), seed=seed)
    ledger = Ledger(budget, "evaluations", unit)
    fit(method, datasets.get(data), seed, ledger, folder, tracker or NoTracker())
    return method, ledger


def weights(method):
    return torch.cat([p.detach().flatten() for p in method.result().parameters()])


@pytest.mark.parametrize(
    ("make", "data"), [(mlp_teacher, "mixture-2d"), (guided_teacher, "mixture-2d"), (unet_teacher, "digits")]
)
@pytest.mark.parametrize("options", [{}, {"ode_step": "euler"}, {"target_ema": 0.5}])
def test_the_ledger_equals_a_flop_counter_around_the_whole_run(tmp_path, make, data, options):
    teacher = make()
    unit = forward_flops(teacher.unwrapped(), torch.randn(2, *datasets.get(data).shape))
    method = Consistency(teacher, ConsistencyOptions(batch=8, **options))
    ledger = Ledger(500.0, "evaluations", unit)
    with FlopCounterMode(display=False) as counter:
        fit(method, datasets.get(data), 0, ledger, tmp_path, NoTracker())
    assert ledger.steps > 5
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)


@pytest.mark.parametrize(("options", "evaluations"), [({}, 6), ({"ode_step": "euler"}, 5)])
def test_a_step_costs_what_the_networks_it_touches_cost(tmp_path, options, evaluations):
    """Heun: two teacher forwards, one target forward, the student's forward and backward (counted as two)."""
    _, ledger = consistency_run(tmp_path, unet_teacher(), "digits", 200.0, **options)
    assert ledger.evaluations / ledger.images == pytest.approx(evaluations, rel=0.02)


def test_the_ledger_says_what_was_spent_on_what(tmp_path):
    """Per sample: Heun's two teacher forwards, the target's, the student's forward, and its backward as two."""
    _, ledger = consistency_run(tmp_path, unet_teacher(), "digits", 200.0)
    per_sample = {use: flops / ledger.flops_per_evaluation / ledger.images for use, flops in ledger.uses.items()}
    expected = {"teacher": 2, "target": 1, "student forward": 1, "student backward": 2}
    assert per_sample == pytest.approx(expected, rel=0.02)
    assert sum(ledger.uses.values()) == pytest.approx(ledger.flops)


def test_a_guided_teachers_evaluation_is_charged_two(tmp_path):
    teacher = guided_teacher()
    unit = forward_flops(teacher.unwrapped(), torch.randn(2, 2))
    assert forward_flops(teacher, torch.randn(2, 2)) == 2 * unit
    method, ledger = Consistency(teacher, ConsistencyOptions(batch=8)), Ledger(400.0, "evaluations", unit)
    fit(method, datasets.get("mixture-2d"), 0, ledger, tmp_path, NoTracker())
    per_sample = {use: flops / unit / ledger.images for use, flops in ledger.uses.items()}
    assert per_sample.pop("student backward") < 2
    assert per_sample == {"teacher": 4, "target": 1, "student forward": 1}


def bespoke_run(folder, budget, tracker=None, make=mlp_teacher, **options):
    teacher = make()
    teacher.sample_shape = (2,)
    chosen = BespokeOptions(trajectories=8, nodes=9, tolerance=1e-3, batch=8, **options)
    method = Bespoke(teacher, chosen, nfe=4)
    ledger = Ledger(budget, "evaluations", forward_flops(teacher.unwrapped(), torch.randn(2, 2)))
    fit(method, datasets.get("mixture-2d"), 0, ledger, folder, tracker or NoTracker())
    return method, ledger


@pytest.mark.parametrize("loss", ["bound", "rmse"])
def test_a_learned_solvers_ground_truth_is_charged(tmp_path, loss):
    with FlopCounterMode(display=False) as counter:
        _, ledger = bespoke_run(tmp_path, 3000.0, loss=loss)
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    truth = ledger.step_uses["true paths 1 to 8, step"]["ground truth"]
    assert truth > 4 * ledger.step_flops["step"]
    assert ledger.uses["ground truth"] == truth
    assert ledger.evaluations <= 3000


def test_a_learned_solver_of_a_closed_form_is_charged_too(tmp_path):
    data = datasets.get("mixture-2d")

    def exact():
        return MixtureDenoiser(data.weights, data.means, data.stds**2, EDM(0.01, 40.0))

    with FlopCounterMode(display=False) as counter:
        _, ledger = bespoke_run(tmp_path, 3000.0, make=exact)
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    assert 2000 < ledger.evaluations <= 3000


def test_selecting_the_best_parameters_is_charged(tmp_path):
    """Per look: the exact solutions of its noises once, then NFE evaluations for each of them."""
    with FlopCounterMode(display=False) as counter:
        _, ledger = bespoke_run(tmp_path, 3000.0, select="best-rmse", select_every=3, select_samples=8)
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    looks = ledger.step_uses["step and selection"]["selection"] / ledger.flops_per_evaluation
    assert looks == pytest.approx(4 * 8)
    assert ledger.uses["selection"] / ledger.flops_per_evaluation > 20 * 8


@pytest.mark.parametrize("make", [mlp_teacher, guided_teacher])
def test_a_killed_learned_solver_resumed_equals_an_undisturbed_one(tmp_path, monkeypatch, make):
    """The true paths are in the checkpoint: they are neither solved nor charged again."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    undisturbed, expected = bespoke_run(tmp_path / "a", 4000.0, make=make)
    (tmp_path / "b").mkdir()
    with pytest.raises(killing.Killed):
        bespoke_run(tmp_path / "b", 4000.0, killing.KillAfter(4), make)
    resumed, ledger = bespoke_run(tmp_path / "b", 4000.0, make=make)
    assert torch.equal(weights(resumed), weights(undisturbed))
    assert (ledger.flops, ledger.steps) == (expected.flops, expected.steps)


@pytest.mark.parametrize("budget", [100.0, 333.0, 1000.0])
def test_training_stops_within_one_step_of_the_budget_and_never_above(tmp_path, budget):
    _, ledger = consistency_run(tmp_path, mlp_teacher(), budget=budget)
    step = ledger.evaluations / ledger.steps
    assert budget - step < ledger.evaluations <= budget


def test_a_step_is_of_one_kind_before_it_and_in_it(tmp_path):
    """A method whose stages end with a share of the budget is asked for its next step's kind with that share."""
    seen = {}

    class Staged(Consistency):
        def step_kind(self, step):
            seen.setdefault(step, set()).add(self.spent)
            return "step"

    teacher = mlp_teacher()
    ledger = Ledger(600.0, "evaluations", forward_flops(teacher, torch.randn(2, 2)))
    fit(Staged(teacher, ConsistencyOptions(batch=8)), datasets.get("mixture-2d"), 0, ledger, tmp_path, NoTracker())
    assert len(seen) == ledger.steps + 1
    assert all(len(shares) == 1 for shares in seen.values())
    assert [*seen[ledger.steps]] == [ledger.spent]


def test_a_budget_below_one_step_is_out_of_budget(tmp_path):
    with pytest.raises(TaskError, match="out of budget: one step costs"):
        consistency_run(tmp_path, mlp_teacher(), budget=10.0)


def test_images_and_flops_are_budgets_too(tmp_path):
    data = datasets.get("mixture-2d")
    by_images = Ledger(80, "images", 1.0)
    fit(
        Consistency(mlp_teacher(), ConsistencyOptions(batch=8)),
        data,
        0,
        by_images,
        tmp_path / "a",
        NoTracker(),
    )
    assert by_images.images == 80
    by_flops = Ledger(by_images.flops, "flops", 1.0)
    fit(
        Consistency(mlp_teacher(), ConsistencyOptions(batch=8)),
        data,
        0,
        by_flops,
        tmp_path / "b",
        NoTracker(),
    )
    assert by_flops.steps == by_images.steps


class OnAClock(Consistency):
    """Its step k takes seconds[k] on the clock by which budgets are kept."""

    def __init__(self, monkeypatch, seconds):
        super().__init__(mlp_teacher(), ConsistencyOptions(batch=8))
        self.seconds, self.now = seconds, 0.0
        monkeypatch.setattr(step_meter.time, "perf_counter", lambda: self.now)

    def training_step(self, batch, batch_idx):
        self.now += self.seconds[int(batch["step"])]
        return super().training_step(batch, batch_idx)

    def learning_rate_factor(self, step, spent):
        return 1.0


def test_seconds_are_a_budget_too(tmp_path, monkeypatch):
    """Where a step takes 0.25 s: eight of them in 2 seconds, whatever the machine does."""
    ledger = Ledger(2.0, "seconds", 1.0)
    fit(OnAClock(monkeypatch, [0.25] * 8), datasets.get("mixture-2d"), 0, ledger, tmp_path, NoTracker())
    assert (ledger.steps, ledger.seconds) == (8, 2.0)


def test_a_step_that_runs_past_the_seconds_is_dropped(tmp_path, monkeypatch):
    """The weights are those of the four steps before it."""
    runs = []
    for limit in (1.0, 2.0):
        method, ledger = OnAClock(monkeypatch, [0.25] * 4 + [5.0]), Ledger(limit, "seconds", 1.0)
        fit(method, datasets.get("mixture-2d"), 0, ledger, tmp_path / str(limit), NoTracker())
        assert (ledger.steps, ledger.images, ledger.seconds) == (4, 32, limit)
        runs.append(weights(method))
    assert torch.equal(*runs)


def test_a_slower_step_than_expected_is_the_last():
    """Within one step of the limit, and no failure; a first step beyond it is one."""
    ledger = Ledger(1.0, "seconds", 1.0, step_uses={"step": {"teacher": 1.0}})
    for _ in range(3):
        ledger.charge("step", 8, 0.3)
    assert ledger.affords("step", 8) is False
    slow = Ledger(1.0, "seconds", 1.0, step_uses={"step": {"teacher": 1.0}})
    slow.charge("step", 8, 0.3)
    assert slow.affords("step", 8)
    slow.charge("step", 8, 0.9)
    assert not slow.affords("step", 8)
    with pytest.raises(TaskError, match="out of budget: one step costs 2 seconds, the budget is 1"):
        Ledger(1.0, "seconds", 1.0, step_uses={"step": {"teacher": 1.0}}).charge("step", 8, 2.0)


@pytest.mark.parametrize("step", [1, 4, 9])
def test_a_killed_run_resumed_equals_an_undisturbed_one(tmp_path, monkeypatch, step):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    teacher = mlp_teacher()
    undisturbed, expected = consistency_run(tmp_path / "a", copy.deepcopy(teacher), target_ema=0.5)
    (tmp_path / "b").mkdir()
    with pytest.raises(killing.Killed):
        consistency_run(tmp_path / "b", copy.deepcopy(teacher), target_ema=0.5, tracker=killing.KillAfter(step))
    assert (tmp_path / "b" / training.CHECKPOINT).exists() == (step > 1)
    resumed, ledger = consistency_run(tmp_path / "b", copy.deepcopy(teacher), target_ema=0.5)
    assert torch.equal(weights(resumed), weights(undisturbed))
    clock = {"seconds": 0.0, "step_seconds": {}}
    assert ledger.to_dict() | clock == expected.to_dict() | clock


def test_a_checkpoint_cut_off_by_a_kill_is_not_trusted(tmp_path):
    teacher = mlp_teacher()
    undisturbed, _ = consistency_run(tmp_path / "a", copy.deepcopy(teacher))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / training.CHECKPOINT).write_bytes(b"PK\x03\x04 not a checkpoint")
    resumed, _ = consistency_run(tmp_path / "b", copy.deepcopy(teacher))
    assert torch.equal(weights(resumed), weights(undisturbed))


@pytest.mark.parametrize("state", [{}, {"callbacks": {}, "state_dict": {}}, torch.zeros(2)])
def test_a_file_that_is_no_checkpoint_is_not_trusted(tmp_path, state):
    teacher = mlp_teacher()
    undisturbed, _ = consistency_run(tmp_path / "a", copy.deepcopy(teacher))
    (tmp_path / "b").mkdir()
    torch.save(state, tmp_path / "b" / training.CHECKPOINT)
    resumed, _ = consistency_run(tmp_path / "b", copy.deepcopy(teacher))
    assert torch.equal(weights(resumed), weights(undisturbed))


def test_the_checkpoint_of_another_training_is_told_once_and_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(killing.Killed):
        consistency_run(tmp_path, mlp_teacher(), target_ema=0.5, tracker=killing.KillAfter(4))
    with pytest.raises(TaskError, match=r"last\.ckpt is no checkpoint of this training and was removed"):
        consistency_run(tmp_path, mlp_teacher())
    consistency_run(tmp_path, mlp_teacher())


def test_seeds_determine_the_run(tmp_path):
    runs = [
        weights(consistency_run(tmp_path / str(i), mlp_teacher(), seed=seed)[0]) for i, seed in enumerate((0, 0, 1))
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_divergence_is_told_with_its_step(tmp_path):
    with pytest.raises(DivergedError, match="not finite at step") as error:
        consistency_run(tmp_path, mlp_teacher(), budget=5000.0, learning_rate=1e30)
    assert error.value.step >= 1


def test_the_record_has_each_step_once_and_survives_a_cut_row(tmp_path):
    record = Record(tmp_path)
    for step, loss in ((1, 0.3), (2, 0.2), (2, 0.25)):
        record.log({"step": step, "loss": loss})
    record.close()
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [(row["step"], row["loss"]) for row in read_events(tmp_path)] == [(1, 0.3), (2, 0.25)]


def test_the_record_shows_what_was_spent(tmp_path):
    record = Record(tmp_path)
    _, ledger = consistency_run(tmp_path, mlp_teacher(), tracker=record)
    rows = read_events(tmp_path)
    assert rows[-1]["step"] == ledger.steps
    assert rows[-1]["budget/evaluations"] == pytest.approx(ledger.evaluations)
    assert all(json.dumps(row) for row in rows)


class Logging(Consistency):
    """It logs a number of its own in every step."""

    def training_step(self, batch, batch_idx):
        self.log("twice_the_step", 2.0 * int(batch["step"]))
        return super().training_step(batch, batch_idx)


def test_the_record_has_the_learning_rate_and_what_the_method_logs(tmp_path):
    method = Logging(mlp_teacher(), ConsistencyOptions(batch=8, learning_rate=1e-3))
    record = Record(tmp_path)
    fit(method, datasets.get("mixture-2d"), 0, Ledger(30 * method.batch_size, "images", 1.0), tmp_path, record)
    rows = read_events(tmp_path)
    assert [row["twice_the_step"] for row in rows] == [2 * (row["step"] - 1) for row in rows]
    before = zip([0.0, *(row["budget/spent"] for row in rows)], rows, strict=False)
    factors = [method.learning_rate_factor(row["step"] - 1, spent) for spent, row in before]
    assert len(set(factors)) > 10
    assert [row["learning_rate"] for row in rows] == pytest.approx([1e-3 * factor for factor in factors])
    assert all(isinstance(row["loss"], float) for row in rows)


def test_pictures_of_samples_change_no_weight_and_no_charge(tmp_path):
    found = []
    for name in ("with", "without"):
        (folder := tmp_path / name).mkdir()
        torch.manual_seed(1)
        teacher = unet_teacher()
        teacher.sample_shape = (1, 8, 8)
        method = Consistency(teacher, ConsistencyOptions(batch=4))
        shown = preview.of_method(method, "consistency", ConsistencyOptions(), None)
        record = Record(folder, shown if name == "with" else None)
        ledger = Ledger(30 * 4, "images", forward_flops(teacher, torch.randn(2, 1, 8, 8)))
        fit(method, datasets.get("digits"), 0, ledger, folder, record)
        found.append((weights(method), torch.rand(3), ledger.flops, ledger.steps, ledger.evaluations))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][2:] == found[1][2:]
    steps = list(read_previews(tmp_path / "with"))
    assert len(steps) == PREVIEWS
    assert steps[0] == 1
    assert steps[-1] == 30
    assert not read_previews(tmp_path / "without")


def test_a_pretrained_teacher_approaches_the_exact_denoiser(tmp_path):
    data = datasets.get("mixture-2d")
    options = PretrainOptions(network=MLPOptions(width=32, blocks=2), images=64 * 600)
    module = Pretrain(options, data.shape)
    exact = MixtureDenoiser(data.weights, data.means, data.stds**2, module.denoiser.path)
    x = data.samples(torch.arange(1000)) + 0.4 * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))

    def error(denoiser):
        with torch.no_grad():
            return float((denoiser(x, 0.4) - exact(x, 0.4)).square().mean())

    before = error(module.denoiser)
    ledger = Ledger(options.images, "images", forward_flops(module.denoiser, torch.randn(2, 2)))
    fit(module, data, options.seed, ledger, tmp_path, NoTracker())
    assert error(module.result()) < 0.3 * before
    assert ledger.images == options.images
    assert ledger.evaluations / ledger.images == pytest.approx(3, rel=0.1)


def test_a_conditional_teacher_approaches_the_exact_denoisers_with_and_without_label(tmp_path):
    """Class k of mixture-2d is one Gaussian: D(x; sigma | k) = mu_k + v_k/(v_k + sigma^2) (x - mu_k)."""
    data = datasets.get("mixture-2d")
    options = PretrainOptions(network=MLPOptions(width=32, blocks=2), images=64 * 800, label_dropout=0.2)
    module = Pretrain(options, data.shape, data.classes)
    rows, sigma = torch.arange(1000), 0.4
    x = data.samples(rows) + sigma * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    labels = data.labels(rows)
    mean, variance = data.means[labels], data.stds[labels, None] ** 2
    conditional = mean + variance / (variance + sigma**2) * (x - mean)
    whole = MixtureDenoiser(data.weights, data.means, data.stds**2, module.denoiser.path)(x, sigma)

    def errors(denoiser):
        with torch.no_grad():
            pairs = [(denoiser(x, sigma, labels), conditional), (denoiser(x, sigma), whole)]
        return [float((own - exact).square().mean()) for own, exact in pairs]

    apart = float((conditional - whole).square().mean())
    assert min(errors(module.denoiser)) > 0.2 * apart
    fit(module, data, options.seed, Ledger(options.images, "images", 1.0), tmp_path, NoTracker())
    assert max(errors(module.result())) < 0.2 * apart


def test_a_teacher_whose_evaluation_has_no_matrix_product_has_no_budget():
    with pytest.raises(TaskError, match="holds no matrix product"):
        Ledger(100.0, "evaluations", 0.0)
