"""The embedded data sets and the batches drawn from them."""

import dataclasses
import hashlib

import pytest
import torch

from fewstep import datasets
from fewstep.datasets import mixtures
from fewstep.datasets.base import Batches, ImageSet, shuffled, to_unit_range
from fewstep.datasets.registry import DATASETS
from fewstep.methods.randomness import generator, noise


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if not spec.archive])
def test_the_registry_tells_the_truth(name):
    data, spec = datasets.get(name), DATASETS[name]
    assert (data.name, data.shape, len(data)) == (spec.name, spec.shape, spec.size)
    assert set(data.labels(torch.arange(len(data))).tolist()) == set(range(spec.classes))
    x = data.samples(torch.arange(4))
    assert x.shape == (4, *spec.shape)
    assert x.dtype == torch.float32


@pytest.mark.parametrize("changes", [{"shape": (64,)}, {"classes": 9}])
def test_data_that_are_not_as_declared_are_refused(monkeypatch, changes):
    monkeypatch.setitem(DATASETS.entries, "digits", dataclasses.replace(DATASETS["digits"], **changes))
    with pytest.raises(
        ValueError, match=r"digits: \(shape, classes\) is declared as .*its data have \(\(1, 8, 8\), 10\)"
    ):
        datasets.get("digits")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ("pixels",)}, "no group of metrics 'pixels'; one of truth, classifier"),
        ({"metrics": ("truth", "classifier")}, "the group 'classifier' or 'scorer' and a classifier need each other"),
        ({"metrics": ("scorer", "classifier"), "classifier": "mine:RECIPE"}, "need each other"),
        ({"classifier": "mine:RECIPE"}, "the group 'classifier' or 'scorer' and a classifier need each other"),
    ],
)
def test_a_declaration_that_promises_too_much_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(DATASETS["mixture-8x8"], **changes)


def test_digits_are_scikit_learns():
    data = datasets.get("digits")
    assert hashlib.sha256(data.images.numpy().tobytes()).hexdigest().startswith("8f26b2bd9d135c25")
    assert torch.bincount(data.targets).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_scaled_to_the_unit_range():
    data = datasets.get("digits")
    x = data.samples(torch.arange(len(data)))
    assert (float(x.min()), float(x.max())) == (-1.0, 1.0)
    assert float(x.double().mean()) == pytest.approx(2 * 0.30526 - 1, abs=1e-4)


def test_uint8_extremes_become_minus_one_and_one():
    assert to_unit_range(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_a_sample_of_a_mixture_is_a_function_of_its_number_and_is_drawn_once(monkeypatch):
    law, drawn = dataclasses.replace(datasets.get("mixture-2d")), []

    def counted(seed, purpose, indices, shape):
        drawn.extend(indices)
        return noise(seed, purpose, indices, shape)

    monkeypatch.setattr(mixtures, "noise", counted)
    first, second = torch.tensor([5, 3, 5]), torch.tensor([3, 19_999, 5, 0])
    found = {i: x for rows in (first, second) for i, x in zip(rows.tolist(), law.samples(rows), strict=True)}
    assert sorted(set(drawn)) == [0, 3, 5, 19_999]
    assert drawn.count(3) == 1
    for i, x in found.items():
        alone = dataclasses.replace(law).samples(torch.tensor([i]))[0]
        assert torch.equal(x, alone)
        component = law.components[i]
        eps = noise(0, "mixture-2d-sample", [i], (2,))[0]
        assert torch.equal(x, law.means[component] + law.stds[component] * eps)


@pytest.mark.parametrize("name", ["mixture-2d", "mixture-8x8"])
def test_mixture_samples_have_the_laws_moments(name):
    data = datasets.get(name)
    x = data.samples(torch.arange(5000)).double().flatten(1)
    means, weights = data.means.double().flatten(1), data.weights.double()
    mean = weights @ means
    variance = weights @ (means**2 + data.stds.double()[:, None] ** 2) - mean**2
    torch.testing.assert_close(x.mean(0), mean, rtol=0, atol=0.06)
    torch.testing.assert_close(x.var(0), variance, rtol=0.1, atol=0.02)


def test_a_batch_is_a_function_of_seed_and_step():
    data = datasets.get("digits")
    whole = iter(Batches(data, 64, seed=0))
    first = [next(whole) for _ in range(40)]
    resumed = next(iter(Batches(data, 64, seed=0, start=37)))
    assert resumed["step"] == 37
    assert torch.equal(resumed["x0"], first[37]["x0"])
    assert torch.equal(resumed["labels"], first[37]["labels"])
    assert not torch.equal(next(iter(Batches(data, 64, seed=1)))["x0"], first[0]["x0"])


def test_an_epoch_shows_every_image_once():
    data = datasets.get("digits")
    batches = Batches(data, 64, seed=0)
    seen = torch.cat([batches.indices(step) for step in range(57)])
    assert torch.equal(seen[: len(data)].sort().values, torch.arange(len(data)))
    second = seen[len(data) : 2 * len(data)]
    assert len(second.unique()) == len(second)


@pytest.fixture
def drawn(monkeypatch):
    """What torch draws as a whole: the lengths of permutations and of multinomial samples."""
    lengths = []
    for name in ("randperm", "multinomial"):
        draw = getattr(torch, name)

        def counted(*args, draw=draw, **more):
            lengths.append(len(found := draw(*args, **more)))
            return found

        monkeypatch.setattr(torch, name, counted)
    return lengths


def test_the_order_of_a_pass_is_its_permutation_and_drawn_once(drawn):
    """Bit for bit as if each step drew it anew; two uses may take turns, and steps may lie across passes."""
    count, batch, found = 103, 8, {0: [], 1: []}
    for step in range(40):
        for seed, rows in found.items():
            rows.append(shuffled(torch.arange(step * batch, (step + 1) * batch), count, seed, "epoch"))
    assert len(drawn) < 20
    for seed, rows in found.items():
        passes = [torch.randperm(count, generator=generator(seed, "epoch", turn)) for turn in range(4)]
        assert torch.equal(torch.cat(rows), torch.cat(passes)[: 40 * batch])


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if not spec.archive])
def test_a_step_draws_nothing_as_long_as_the_data_set(name, drawn):
    data = datasets.get(name)
    steps = iter(Batches(data, 16, seed=5))
    next(steps)
    drawn.clear()
    for _ in range(5):
        next(steps)
    assert len(data) not in drawn


def test_images_of_another_type_are_refused():
    with pytest.raises(ValueError, match="uint8 NCHW"):
        ImageSet("x", torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="2 labels for 1 images"):
        ImageSet("x", torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        datasets.get("digit")
