"""Batches made ahead come in order, with their errors in their place, and leave no thread behind."""

import threading

import pytest
import torch

from fewstep.bench.commands.conformance import setup
from fewstep.bench.training.ahead import DEPTH, Ahead, prepared
from fewstep.datasets.base import Batches
from fewstep.methods.distillation.consistency import Consistency
from fewstep.methods.distillation.tract import Phase
from fewstep.methods.randomness import drawn_seed
from fewstep.methods.registry import METHODS
from fewstep.methods.specs.consistency import ConsistencyOptions

NAME = "batches ahead"


def threads():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def test_items_come_in_order_and_the_thread_ends_with_them():
    ahead = Ahead(range(50))
    assert list(ahead) == list(range(50))
    ahead.close()
    assert threads() == []


def test_an_error_comes_where_its_item_would_have_been():
    def items():
        yield 1
        yield 2
        raise OSError("the archive is gone")

    ahead, seen = Ahead(items()), []
    with pytest.raises(OSError, match="the archive is gone"):
        seen += iter(ahead)
    ahead.close()
    assert seen == [1, 2]
    assert threads() == []


def test_no_more_is_made_ahead_than_is_asked_for_and_a_stop_leaves_no_thread():
    made, enough = [], threading.Event()

    def endless():
        step = 0
        while True:
            made.append(step)
            if len(made) == DEPTH + 2:
                enough.set()
            yield step
            step += 1

    ahead = Ahead(endless())
    assert next(iter(ahead)) == 0
    assert enough.wait(60)
    assert len(threads()) == 1
    ahead.close()
    assert threads() == []
    assert len(made) <= 2 * DEPTH + 3


def test_for_a_gpu_a_batch_brings_its_draws_and_is_the_same_batch():
    data = setup.load_data("mixture-2d")
    method = Consistency(setup.teacher(data), ConsistencyOptions(batch=4), seed=3)
    plain = Batches(data, 4, 3, start=5)
    with prepared(method, plain, "cpu") as same:
        assert same is plain
        assert threads() == []
    with prepared(method, plain, "cuda") as ready:
        for expected, found in zip(range(5, 9), ready, strict=False):
            batch = {"step": expected, "x0": data.samples(plain.indices(expected))}
            assert found["step"] == expected
            assert torch.equal(found["x0"], batch["x0"])
            assert torch.equal(found["drawn"]["noise"], method.drawn(batch)["noise"])
    assert threads() == []


def batch_of(step, size):
    return {"step": torch.tensor(step), "x0": torch.zeros(size, 2)}


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("steps", [512, 4, 2, 1])
def test_noise_made_ahead_is_what_a_step_of_any_phase_of_progressive_distillation_draws(steps, size):
    method = method_of("progressive", batch=size)
    rng, _ = method.indices(batch_of(7, size), steps)
    assert torch.equal(method.drawn(batch_of(7, size))["noise"], torch.randn(size, 2, generator=rng))


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("phase", [(1024, 1024, 32), (1024, 32, 1), (4, 4, 2)])
def test_noise_made_ahead_is_what_a_step_of_any_phase_of_tract_draws(phase, size):
    method = method_of("tract", batch=size)
    rng, _ = method.indices(batch_of(7, size), Phase(*phase))
    assert torch.equal(method.drawn(batch_of(7, size))["noise"], torch.randn(size, 2, generator=rng))


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("progress", [0.0, 0.4, 0.99])
@pytest.mark.parametrize("recipe", ["ct", "ict", "ect"])
def test_noise_made_ahead_is_what_a_step_of_consistency_training_draws_on_any_grid(recipe, progress, size):
    method = method_of("consistency-training", batch=size, variant={"name": recipe})
    rng, _, _ = method._pairs(7, progress)
    drawn = method.drawn(batch_of(7, size))
    assert torch.equal(drawn["noise"], torch.randn(size, 2, generator=rng))
    assert drawn["masks"] == drawn_seed(rng)


def method_of(name, **options):
    spec = METHODS[name]
    return spec.load()(setup.teacher(setup.load_data("mixture-2d")), spec.options.model_validate(options), seed=3)


@pytest.mark.parametrize("name", ["boot", "consistency", "consistency-training", "progressive", "tract"])
def test_a_step_learns_the_same_from_draws_made_ahead(name):
    data, size = setup.load_data("mixture-2d"), 4
    batch = {"step": torch.tensor(2), "x0": data.samples(torch.arange(size))}
    here, ahead = (method_of(name, batch=size) for _ in range(2))
    assert ahead.drawn(batch)
    found = ahead.training_step({**batch, "drawn": ahead.drawn(batch)}, 0)
    assert torch.equal(here.training_step(batch, 0), found)
