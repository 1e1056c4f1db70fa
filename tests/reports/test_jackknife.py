"""The jackknife's standard errors against the true spread, known by simulation or in closed form."""

import math

import numpy as np
import pytest
import torch

from fewstep.bench.metrics import frechet_distance, frechet_without
from fewstep.methods.randomness import generator
from fewstep.reports import jackknife


def draw(count, dimensions, name, scale=1.0, shift=0.0):
    rng = generator(0, name)
    return shift + scale * torch.randn(count, dimensions, generator=rng, dtype=torch.float64)


def test_blocks_are_even_and_cover_every_sample_once():
    for count in (1797, 20, 7):
        found = jackknife.bounds(count)
        assert [i for first, last in found for i in range(first, last)] == list(range(count))
        assert {last - first for first, last in found} <= {count // len(found), count // len(found) + 1}
    assert len(jackknife.bounds(1797)) == 20


def test_of_a_mean_it_is_the_means_own_standard_error():
    """Blocks of one sample: s/sqrt(n) exactly, and nothing to correct."""
    x = draw(20, 1, "mean").flatten().tolist()
    without = [(sum(x) - value) / 19 for value in x]
    assert jackknife.standard_error(without) == pytest.approx(np.std(x, ddof=1) / math.sqrt(20))
    assert jackknife.corrected(np.mean(x), without) == pytest.approx(np.mean(x))


def test_the_bias_of_a_variance_is_removed_exactly():
    """The variance that divides by n is biased by -var/n; the jackknife gives the one that divides by n - 1."""
    x = draw(20, 1, "variance").flatten().numpy()
    without = [np.var(np.delete(x, i)) for i in range(20)]
    assert jackknife.corrected(np.var(x), without) == pytest.approx(np.var(x, ddof=1))


@pytest.mark.parametrize(("count", "dimensions"), [(300, 8), (50, 64)])
def test_the_distance_without_a_block_is_that_of_the_other_rows(count, dimensions):
    """From the moments, and where those are of lower rank than the dimensions, from the rows."""
    real, fake = draw(400, dimensions, "real"), draw(count, dimensions, "fake", 1.2, 0.3)
    blocks = jackknife.bounds(count)
    expected = [frechet_distance(real, torch.cat([fake[:a], fake[b:]])) for a, b in blocks]
    assert frechet_without(real, fake, blocks) == pytest.approx(expected, rel=1e-9)


def test_the_corrected_distance_of_gaussians_is_within_three_errors_of_the_truth():
    """d = 16 and a shift of 0.3 in one of them: 0.09, of which 1,000 samples measure a good deal more."""
    dimensions, count = 16, 1000
    shift = torch.zeros(dimensions, dtype=torch.float64)
    shift[0] = 0.3
    real, fake = draw(200_000, dimensions, "exact"), draw(count, dimensions, "shifted") + shift
    value, without = frechet_distance(real, fake), frechet_without(real, fake, jackknife.bounds(count))
    error, better = jackknife.standard_error(without), jackknife.corrected(value, without)
    assert value > 0.09 + 0.02
    assert abs(better - 0.09) < 3 * error < 0.15


def simulate(repetitions, dimensions, count):
    """(distances, differences, their jackknife errors) of pairs of students that start from the same noises.

    Each is off in a direction of its own, by as much as the other: they differ, and their distances do not.
    """
    real = draw(100_000, dimensions, "reference")
    offsets = 0.5 * torch.eye(dimensions, dtype=torch.float64)[:2]
    values, differences, errors, paired = [], [], [], []
    blocks = jackknife.bounds(count)
    for k in range(repetitions):
        start = draw(count, dimensions, f"start-{k}")
        students = [1.1 * start + offset for offset in offsets]
        found = [frechet_distance(real, x) for x in students]
        without = [np.array(frechet_without(real, x, blocks)) for x in students]
        values.append(found[0])
        differences.append(found[0] - found[1])
        errors.append(jackknife.standard_error(without[0]))
        paired.append(jackknife.standard_error(without[0] - without[1]))
    return (np.array(part) for part in (values, differences, errors, paired))


@pytest.mark.slow
def test_over_200_repetitions_errors_are_the_true_spread_and_false_differences_are_few():
    """Unpaired and paired, the standard error is within 15 % of the spread; differences where there are none: 5 %."""
    values, differences, errors, paired = simulate(200, dimensions=32, count=1797)
    assert math.sqrt(np.mean(errors**2)) == pytest.approx(np.std(values, ddof=1), rel=0.15)
    assert math.sqrt(np.mean(paired**2)) == pytest.approx(np.std(differences, ddof=1), rel=0.15)
    assert 0.02 <= np.mean(np.abs(differences) > 2 * paired) <= 0.09
