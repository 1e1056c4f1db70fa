"""The search of consistency models' levels, charged within the budget; their optimiser; what one step reaches."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.training import loop as training
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods import registry, saved, solvers
from fewstep.methods.distillation.consistency import Consistency
from fewstep.methods.distillation.consistency_sampling import search_levels, search_next
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import generator, noise
from fewstep.methods.specs.consistency import ConsistencyOptions
from fewstep.methods.uses import divided
from fewstep.tests.methods import killing, toy2d


def position_of(level, path):
    root = [value ** (1 / 7) for value in (path.t_max, level, path.t_min)]
    return (root[0] - root[1]) / (root[0] - root[2])


def test_a_search_finds_the_valley_of_the_quality():
    """f says at which level it was asked: the best is known. Five rounds leave (2/3)^5 of the interval."""
    path, asked = EDM(0.01, 40.0), []

    def f(x, t):
        asked.append(len(x))
        return t.to(x).expand(x.shape)

    def quality(x0):
        return abs(position_of(float(x0.mean()), path) - 0.43)

    start, draws = torch.randn(7, 2), lambda j: torch.randn(7, 2)
    first = torch.zeros(1, dtype=torch.float64)
    position = search_next(f, quality, path, first, start, draws, floor=path.t_min, rounds=5)
    assert abs(position - 0.43) < (2 / 3) ** 5
    assert sum(asked) == 7 * (1 + 2 * 5)
    assert abs(search_next(f, quality, path, first, start, draws, path.t_min, rounds=12) - 0.43) < (2 / 3) ** 12


def test_a_search_is_greedy_and_booked_as_selection():
    """Each level is sought after the one before it, which stays; the last of three levels decides what comes out."""
    path, spent = EDM(0.01, 40.0), [0.0]

    def f(x, t):
        spent[0] += len(x)
        return t.to(x).expand(x.shape)

    wanted = iter([0.3] * 10 + [0.7] * 10)

    def quality(x0):
        return abs(position_of(float(x0.mean()), path) - next(wanted))

    with divided(lambda: spent[0]) as meter:
        start = torch.randn(7, 2)
        positions = search_levels(f, quality, path, start, lambda j: torch.randn(7, 2), 3, path.t_min, rounds=5)
    assert positions.tolist() == pytest.approx([0, 0.3, 0.7], abs=0.14)
    assert meter.finish() == {"selection": 7 * (1 + 10 + 2 + 10)}


SEARCH = {"levels": "searched", "searched_nfe": 3, "search_samples": 64, "search_rounds": 3}


def searched_run(folder, budget=1500.0, kill=None):
    method = Consistency(killing.small_teacher(), ConsistencyOptions(batch=8, **SEARCH))
    method.quality = toy2d.swd
    return method, killing.train(method, budget, folder, kill)


def test_the_search_is_charged_within_the_budget(tmp_path):
    """Two levels on 64 noises: a probe, then 1 + 6 and 2 + 6 evaluations, with a quality that costs nothing itself."""
    method = Consistency(killing.small_teacher(), ConsistencyOptions(batch=8, **SEARCH))
    method.quality = lambda x0: float(x0.abs().mean())
    ledger = Ledger(2500.0, "evaluations", forward_flops(method.teacher, torch.zeros(2, 2)))
    with FlopCounterMode(display=False) as counter:
        fit(method, toy2d.DATA, 0, ledger, tmp_path, NoTracker())
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    assert ledger.uses["selection"] / ledger.flops_per_evaluation == pytest.approx(64 * 16)
    assert 2500 - 64 - 3 * 48 < ledger.evaluations <= 2500
    assert method.levels(3).diff().max() < 0


def test_searched_levels_survive_a_kill_and_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    undisturbed, expected = searched_run(tmp_path / "a", 2500.0)
    with pytest.raises(killing.Killed):
        searched_run(tmp_path / "b", 2500.0, kill=expected.steps)
    resumed, ledger = searched_run(tmp_path / "b", 2500.0)
    assert killing.same(resumed, undisturbed)
    assert (ledger.flops, ledger.steps) == (expected.flops, expected.steps)
    saved.save(undisturbed, "consistency", undisturbed.options, tmp_path / "student.safetensors")
    loaded = saved.load(tmp_path / "student.safetensors", killing.small_teacher()).eval()
    start, draws = torch.randn(5, 2), lambda j: noise(0, f"draw-{j}", range(5), (2,))
    assert torch.equal(loaded.sample(start, 3, draws=draws), undisturbed.sample(start, 3, draws=draws))
    assert loaded.learned() == undisturbed.learned()


def test_the_search_leaves_the_student_alone(tmp_path):
    """Adam's momentum would still move it: the learning rate is 0 by then, and the averages rest."""
    method, ledger = searched_run(tmp_path / "a", 2500.0)
    method.quality, short = toy2d.swd, ledger.steps - 1
    before = Consistency(killing.small_teacher(), ConsistencyOptions(batch=8, **SEARCH))
    before.quality = toy2d.swd
    with pytest.raises(killing.Killed):
        killing.train(before, 2500.0, tmp_path / "b", kill=short)
    for own, other in zip(method.average.parameters(), before.average.parameters(), strict=True):
        assert torch.equal(own, other)


def test_a_search_that_would_take_most_of_the_budget_is_refused_at_once(tmp_path):
    method = Consistency(killing.small_teacher(), ConsistencyOptions(batch=8, levels="searched"))
    method.quality = toy2d.swd
    with pytest.raises(ValueError, match=r"searching the levels takes \d+ % of the budget: lower search_samples"):
        killing.train(method, 5000.0, tmp_path)


def test_a_budget_in_images_ends_with_the_search_too(tmp_path):
    method = Consistency(killing.small_teacher(), ConsistencyOptions(batch=8, **SEARCH))
    method.quality = toy2d.swd
    ledger = Ledger(80, "images", 1.0)
    fit(method, toy2d.DATA, 0, ledger, tmp_path, NoTracker())
    assert ledger.images <= 80
    assert method.levels(3).diff().max() < 0


def test_levels_beyond_those_searched_are_refused():
    spec, options = registry.method("consistency"), ConsistencyOptions(levels="searched", searched_nfe=3)
    assert spec.refusal(3, options) is None
    assert spec.refusal(4, options) == "levels are searched for up to 3 evaluations, see searched_nfe"
    assert spec.refusal(8, ConsistencyOptions()) is None
    assert options.needs_quality
    assert not ConsistencyOptions().needs_quality


@pytest.mark.slow
def test_one_step_reaches_the_mixture_where_euler_does_not(tmp_path):
    """Twice the sliced distance of two real samples, within 150,000 evaluations; Euler's one step is at 0.7."""
    teacher, start = toy2d.teacher(), noise(0, "start", range(2000), (2,))
    method = Consistency(toy2d.teacher(), ConsistencyOptions(batch=256))
    ledger = toy2d.train(method, 150_000, tmp_path)
    assert ledger.evaluations <= 150_000
    assert toy2d.swd(method.sample(start, 1)) < 0.15
    assert toy2d.swd(solvers.get("euler").sample(teacher, start, nfe=1)) > 0.6


def test_radam_takes_the_papers_steps_and_survives_a_kill(tmp_path, monkeypatch):
    """Its first steps are plain momentum: the rate times the gradient, corrected for the start."""
    options = ConsistencyOptions(optimizer="radam", batch=8, warmup_steps=0)
    method = Consistency(killing.small_teacher(), options)
    optimizer = method.configure_optimizers()
    before = [p.detach().clone() for p in method.student.parameters()]
    method.training_step({"x0": torch.randn(8, 2, generator=generator(0, "radam")), "step": 0}, 0).backward()
    gradients = [p.grad.clone() for p in method.student.parameters()]
    optimizer.step()
    for p, old, gradient in zip(method.student.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(p.detach(), old - options.learning_rate * gradient)

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    undisturbed, resumed = (Consistency(killing.small_teacher(), options) for _ in range(2))
    expected = killing.train(undisturbed, 2000, tmp_path / "a")
    with pytest.raises(killing.Killed):
        killing.train(Consistency(killing.small_teacher(), options), 2000, tmp_path / "b", kill=expected.steps // 2)
    killing.train(resumed, 2000, tmp_path / "b")
    assert killing.same(resumed, undisturbed)
