"""Moments and features that are collected by the samples' indices, by one process and by two."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fewstep.bench.metrics import frechet, frechet_distance, frechet_from_moments, frechet_without, scoring
from fewstep.bench.metrics.extractors import stand_ins
from fewstep.bench.metrics.moments import Features, Moments, Running, frechet_of
from fewstep.reports.jackknife import bounds

SAMPLES, DIMENSIONS, PROCESSES = 503, 12, 2


def features(count=SAMPLES, seed=0, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(DIMENSIONS, DIMENSIONS, generator=torch.Generator().manual_seed(9))
    return scale * torch.randn(count, DIMENSIONS, generator=rng) @ mixing + 2


def collect(metric, fake, rows, batch):
    for part in rows.split(batch):
        metric.update(fake[part], part)
    return metric


def reference():
    real = features(2000, 1, 1.1).double()
    return real, (real.mean(0), real.T.cov())


def check(found, fake, blocks):
    """The streamed distance and the jackknife's are those of the features at once."""
    real, moments = reference()
    cut = bounds(len(fake), blocks)
    value, without = frechet_of(found, moments, cut)
    assert value == pytest.approx(frechet_distance(real, fake), rel=1e-10)
    assert without == pytest.approx(frechet_without(real, fake, cut), rel=1e-10)


@pytest.mark.parametrize(("blocks", "batch"), [(20, 64), (7, 503), (1000, 10)])
def test_blocks_follow_from_the_rows_whatever_their_order_and_batches(blocks, batch):
    fake = features()
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(3))
    found = collect(Moments(SAMPLES, DIMENSIONS, blocks), fake, order, batch).compute()
    check(found, fake, blocks)
    assert found.counts.tolist() == [last - first for first, last in bounds(SAMPLES, blocks)]
    assert torch.allclose(found.mean, fake.double().mean(0), rtol=1e-12)
    assert torch.allclose(found.cov, fake.double().T.cov(), rtol=1e-10)
    first, last = bounds(SAMPLES, blocks)[3]
    assert torch.allclose(found.sums[3], fake[first:last].double().sum(0), rtol=1e-12)


def test_moments_of_fewer_samples_than_dimensions_are_those_of_the_rows():
    fake, (real, moments) = features(9), reference()
    found = collect(Moments(9, DIMENSIONS, 3), fake, torch.arange(9), 4).compute()
    value, without = frechet_of(found, moments, bounds(9, 3))
    assert value == pytest.approx(frechet_distance(real, fake), rel=1e-7)
    assert without == pytest.approx(frechet_without(real, fake, bounds(9, 3)), rel=1e-7)


def test_moments_start_anew_after_a_reset():
    fake, rows = features(), torch.arange(SAMPLES)
    metric = collect(Moments(SAMPLES, DIMENSIONS), features(seed=5), rows, 100)
    metric.reset()
    check(collect(metric, fake, rows, 100).compute(), fake, 20)


def test_missing_and_repeated_samples_are_refused():
    fake, rows = features(), torch.arange(SAMPLES)
    with pytest.raises(ValueError, match="3 are missing, 0 were repeated"):
        collect(Moments(SAMPLES, DIMENSIONS), fake, rows[3:], 64).compute()
    padded = torch.cat([rows[1:], rows[7:9]])
    with pytest.raises(ValueError, match="1 are missing, 2 were repeated"):
        collect(Moments(SAMPLES, DIMENSIONS), fake, padded, 64).compute()
    with pytest.raises(ValueError, match="features of 503 samples: 1 are missing"):
        collect(Features(SAMPLES, DIMENSIONS), fake, padded, 64).compute()


@pytest.mark.parametrize("metric", [Moments, Features])
def test_wrong_batches_are_refused(metric):
    collector, x = metric(8, 3), torch.zeros(2, 3)
    for rows in (torch.tensor([0, 8]), torch.tensor([-1, 0])):
        with pytest.raises(ValueError, match="indices below 8"):
            collector.update(x, rows)
    for part, rows in ((x, torch.arange(3)), (x[:, :2], torch.arange(2)), (x[0], torch.arange(3))):
        with pytest.raises(ValueError, match=r"\(B, 3\)"):
            collector.update(part, rows)
    with pytest.raises(ValueError, match="not finite"):
        collector.update(x / 0, torch.arange(2))


def test_gathered_features_are_in_the_order_of_the_samples_each_once():
    fake = features()
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(3))
    metric = collect(Features(SAMPLES, DIMENSIONS), fake, torch.cat([order, order[:50]]), 64)
    assert metric.compute().equal(fake)
    metric.reset()
    with pytest.raises(ValueError, match="503 are missing"), pytest.warns(UserWarning, match="before the ``update``"):
        metric.compute()
    half = collect(Features(SAMPLES, DIMENSIONS, torch.float16), fake, order, 64)
    assert half.compute().equal(fake.half())


def work(folder, rank):
    """One of the processes: uneven shares in batches of their own, with a sampler's padding for the gathered ones."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=PROCESSES)
    fake = features()
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(3))
    share = order[:200] if rank == 0 else order[200:]
    moments = collect(Moments(SAMPLES, DIMENSIONS), fake, share, 32 + rank).compute()
    padded = torch.cat([share, order[150:260]])
    gathered = collect(Features(SAMPLES, DIMENSIONS), fake, padded, 40).compute()
    idle = Features(SAMPLES, DIMENSIONS)
    one_sided = collect(idle, fake, order, 40).compute() if rank else idle.compute()
    repeated = collect(Moments(SAMPLES, DIMENSIONS), fake, padded, 40)
    with pytest.raises(ValueError, match="0 are missing, 110 were repeated"):
        repeated.compute()
    value, without = frechet_of(moments, reference()[1], bounds(SAMPLES))
    np.savez(
        Path(folder) / f"{rank}.npz",
        value=value,
        without=without,
        mean=moments.mean,
        cov=moments.cov,
        gathered=gathered,
        one_sided=one_sided,
    )
    torch.distributed.destroy_process_group()


def test_two_processes_find_what_one_finds(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, __file__, str(tmp_path), str(rank)], env=environment, cwd=tmp_path)
        for rank in range(PROCESSES)
    ]
    assert [process.wait(120) for process in processes] == [0] * PROCESSES
    fake = features()
    alone = collect(Moments(SAMPLES, DIMENSIONS), fake, torch.arange(SAMPLES), 100).compute()
    real, moments = reference()
    _, without = frechet_of(alone, moments, bounds(SAMPLES))
    for rank in range(PROCESSES):
        found = np.load(tmp_path / f"{rank}.npz", allow_pickle=False)
        assert found["value"] == pytest.approx(frechet_distance(real, fake), rel=1e-10)
        assert found["without"] == pytest.approx(without, rel=1e-10)
        assert frechet_from_moments(found["mean"], found["cov"], *moments) == pytest.approx(found["value"], rel=1e-10)
        assert (found["gathered"] == fake.numpy()).all()
        assert (found["one_sided"] == fake.numpy()).all()


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_running_moments_are_those_of_the_features_however_far_their_mean_is(shift):
    fake = features() + shift
    real = features(2000, 1, 1.1).double() + shift
    moments = real.mean(0), real.T.cov()
    running = Running(SAMPLES, DIMENSIONS)
    for part in fake.split(64):
        running.update(part)
    value, without = frechet_of(running.compute(), moments, bounds(SAMPLES))
    exact, others = frechet_of(fake, moments, bounds(SAMPLES))
    assert value == pytest.approx(exact, rel=1e-9)
    assert without == pytest.approx(others, rel=1e-9)


def test_published_moments_are_factored_once_for_all_that_is_compared_with_them(monkeypatch, tmp_path):
    factored, factor = [], frechet._factor
    monkeypatch.setattr(frechet, "_factor", lambda cov: factored.append(len(cov)) or factor(cov))
    stand_ins.statistics(tmp_path / "set.npz")
    for seed in range(3):
        moments = scoring.published(str(tmp_path / "set.npz"), "pool").moments["pool"]
        fake = torch.randn(4, 2048, generator=torch.Generator().manual_seed(seed))
        frechet_of(fake, moments, [(0, 2), (2, 4)])
    assert factored == [2048]


def test_a_covariance_counts_by_its_symmetric_part():
    rng = np.random.RandomState(0)
    a, b = (np.cov(rng.standard_normal((40, 6)), rowvar=False) for _ in range(2))
    skew = 0.1 * rng.standard_normal((6, 6))
    zero = np.zeros(6)
    expected = frechet_from_moments(zero, a, zero, b)
    assert frechet_from_moments(zero, a + skew - skew.T, zero, b + skew.T - skew) == pytest.approx(expected, rel=1e-9)


def test_large_means_whose_sum_overflows_are_finite():
    mean, cov = np.full(2, 1e308), np.eye(2)
    assert frechet_from_moments(mean, cov, mean, cov) == pytest.approx(0, abs=1e-12)
