"""What Fréchet distances and manifold scores of 2048-dimensional features cost, beside the usual packages.

    python -m fewstep.bench.benchmarks.metrics_speed [--repeats N] [--rows N] [--threads N]

One process, both sides in turn on the same features: the median of several runs, in seconds of CPU time. Memory is the
growth of the resident set over the features, at its peak, of a process of its own for each function. The Fréchet
distance is timed against clean-fid's, which takes the root of the covariances' product; precision and recall against
torch-fidelity (`pip install fewstep[metrics]`), plain and with its `save_cpu_ram`. Linux alone.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...reports.jackknife import bounds
from ..metrics import frechet_distance, frechet_from_moments, frechet_without, manifold_scores

DIMENSIONS, FACTORS = 2048, 64
NEIGHBOURS = 3


def features(rows: int, seed: int, scale: float = 1.0) -> Tensor:
    """Like pooled ones: the softplus of a few factors and noise, float32; in parts, so as to leave no peak behind."""
    shared = torch.Generator().manual_seed(7)
    weights = torch.randn(FACTORS, DIMENSIONS, generator=shared) * 0.6 / torch.arange(1, FACTORS + 1)[:, None] ** 0.6
    bias = 0.5 * torch.randn(DIMENSIONS, generator=shared) - 1
    rng = torch.Generator().manual_seed(seed)
    found = torch.empty(rows, DIMENSIONS)
    for part in found.split(500):
        torch.randn(part.shape, generator=rng, out=part)
        part.mul_(0.15).addmm_(scale * torch.randn(len(part), FACTORS, generator=rng), weights).add_(bias)
        torch.nn.functional.softplus(part, out=part)
    return found


def moments(x: Tensor) -> tuple[np.ndarray, np.ndarray]:
    array = x.double().numpy()
    return array.mean(0), np.cov(array, rowvar=False)


def clean_fid(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    from cleanfid.fid import frechet_distance

    return float(frechet_distance(mean1, cov1, mean2, cov2))


def by_singular_values(x: Tensor, y: Tensor) -> float:
    """The distance without a covariance: what the others are right or wrong by."""
    x, y = x.double(), y.double()
    a, b = ((part - part.mean(0)) / (len(part) - 1) ** 0.5 for part in (x, y))
    root = torch.linalg.svdvals(torch.linalg.qr(a, mode="r").R @ torch.linalg.qr(b, mode="r").R.T).sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * root)


def torch_fidelity(real: Tensor, fake: Tensor, save_cpu_ram: bool) -> Any:
    from torch_fidelity.metric_prc import prc_features_to_metric

    return prc_features_to_metric(
        fake, real, prc_neighborhood=NEIGHBOURS, save_cpu_ram=save_cpu_ram, verbose=False
    ).values()


MANIFOLDS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "fewstep (with density, coverage)": lambda real, fake: manifold_scores(real, fake, NEIGHBOURS),
    "torch-fidelity": lambda real, fake: torch_fidelity(real, fake, False),
    "torch-fidelity, save_cpu_ram": lambda real, fake: torch_fidelity(real, fake, True),
}


def in_turn(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, Any]]:
    """(median seconds of CPU time, value) of each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    values = {}
    for _ in range(repeats):
        for name, function in functions.items():
            started = time.process_time()
            values[name] = function()
            seconds[name].append(time.process_time() - started)
    return {name: (statistics.median(seconds[name]), values[name]) for name in functions}


def memory(name: str, rows: int, threads: int) -> float:
    """GB at the peak beyond what was resident with the features made, in a process of its own. Linux alone."""
    torch.set_num_threads(threads)
    real, fake = features(rows, 1), features(rows, 2, 0.95)
    # The packages' modules are loaded, and the thread pools started, before the count begins.
    MANIFOLDS[name](real[:100], fake[:100])
    resident = _kilobytes("VmRSS")
    MANIFOLDS[name](real, fake)
    return (_kilobytes("VmHWM") - resident) * 1024 / 1e9


def _kilobytes(what: str) -> int:
    """Of this process; the peak that getrusage tells may be that of the process which started it."""
    assert sys.platform == "linux"
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{what}:")))


def frechet_rows(repeats: int) -> None:
    print(f"{'Fréchet distance':<34} {'fewstep':>8} {'clean-fid':>9} {'times':>6}   apart    fewstep, clean-fid off by")
    real, fake = features(5000, 1), features(4000, 2, 0.95)
    for name, x, y, from_moments in (
        ("5,000 and 4,000 rows, moments", real, fake, True),
        ("5,000 and 4,000 rows, features", real, fake, False),
        ("1,500 and 1,000 rows, features", real[:1500], fake[:1000], False),
        ("5,000 and 1,000 rows, features", real, fake[:1000], False),
        ("1,500 and 1,000 rows, moments", real[:1500], fake[:1000], True),
    ):
        given = (*moments(x), *moments(y))
        own = {
            True: lambda given=given: frechet_from_moments(*given),
            False: lambda x=x, y=y: frechet_distance(x, y),
        }
        other = {
            True: lambda given=given: clean_fid(*given),
            False: lambda x=x, y=y: clean_fid(*moments(x), *moments(y)),
        }
        found = in_turn({"own": own[from_moments], "other": other[from_moments]}, repeats)
        (a, value), (b, theirs) = found["own"], found["other"]
        exact = by_singular_values(x, y)
        apart, off, theirs_off = abs(value - theirs) / exact, abs(value - exact) / exact, abs(theirs - exact) / exact
        print(f"{name:<34} {a:7.2f}s {b:8.2f}s {b / a:6.1f}   {apart:.0e}    {off:.0e}, {theirs_off:.0e}", flush=True)
    blocks = bounds(len(fake))
    found = in_turn({"own": lambda: frechet_without(real, fake, blocks)}, 1)
    print(f"{'without each of 20 blocks':<34} {found['own'][0]:7.2f}s", flush=True)


def manifold_rows(rows: int, repeats: int, threads: int) -> None:
    print(f"\nprecision and recall, {rows:,} and {rows:,} rows     time   memory   precision  recall")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        grown = {name: pool.submit(memory, name, rows, threads).result() for name in MANIFOLDS}
    real, fake = features(rows, 1), features(rows, 2, 0.95)
    found = in_turn({name: lambda run=run: run(real, fake) for name, run in MANIFOLDS.items()}, repeats)
    for name, (seconds, scores) in found.items():
        precision, recall = list(scores)[:2]
        print(f"{name:<42} {seconds:7.2f}s {grown[name]:5.2f} GB    {precision:.4f}     {recall:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What metrics of 2048-dimensional features cost")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10_000, help="of either set, for precision and recall")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if sys.platform != "linux":
        parser.error("memory is read from /proc, which Linux alone has")
    torch.set_num_threads(arguments.threads)
    frechet_rows(arguments.repeats)
    manifold_rows(arguments.rows, arguments.repeats, arguments.threads)


if __name__ == "__main__":
    main()
