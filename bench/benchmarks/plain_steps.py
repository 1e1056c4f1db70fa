"""A training step of CD and PD beside the same step in a loop written as openai/consistency_models has it.

    python -m fewstep.bench.benchmarks.plain_steps [--steps N] [--network digits|large] [--averages N]

The plain loop follows cm/train_util.py and cm/karras_diffusion.py (MIT) in our words: the noise levels by index, the
teacher's step and the losses in float32, the network preconditioned outside of it, the loss's quartiles noted with a
read of each sample, gradient and weight norms, RAdam, a target and `averages` moving averages updated weight by
weight. Both train from the same teacher on the same batches, take turns step by step in one process and one thread,
and are timed by the thread's CPU clock. The figure is the median of what a step of ours takes over the plain one that
ran next to it.
"""

import argparse
import copy
import logging
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...datasets.base import Batches, Dataset
from ...methods.denoiser import EDMDenoiser
from ..run.allocator import keep_freed_memory
from ..stages.train import build
from ..training.ledger import Ledger, forward_flops
from ..training.loop import fit
from ..training.tracking import Record
from .training_share import TEACHERS

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0
LEARNING_RATE, DECAY, TARGET_DECAY = 1e-4, 0.999, 0.95


def like(c: Tensor, x: Tensor) -> Tensor:
    """c (B,) with x's dimensions."""
    return c[(...,) + (None,) * (x.ndim - c.ndim)]


class Preconditioned:
    """D(x, sigma) of a network; with `boundary` D(x, sigma_min) = x."""

    def __init__(self, network: nn.Module, boundary: bool) -> None:
        self.network, self.boundary = network, boundary

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        shifted = sigma - SIGMA_MIN if self.boundary else sigma
        c_skip = 0.25 / (shifted**2 + 0.25)
        c_out = (shifted if self.boundary else sigma) * 0.5 / (sigma**2 + 0.25) ** 0.5
        c_in = 1 / (sigma**2 + 0.25) ** 0.5
        c_skip, c_out, c_in = (like(c, x) for c in (c_skip, c_out, c_in))
        output = self.network(c_in * x, 0.25 * torch.log(sigma + 1e-44), None)
        return c_out * output + c_skip * x


def level(index: Tensor, count: int) -> Tensor:
    """The noise level of grid point `index` of `count`."""
    low, high = SIGMA_MIN ** (1 / RHO), SIGMA_MAX ** (1 / RHO)
    return (high + index / (count - 1) * (low - high)) ** RHO


def consistency_losses(student: nn.Module, target: nn.Module, teacher: nn.Module, x0: Tensor) -> tuple[Tensor, Tensor]:
    """(losses (B,), levels (B,)): Heun's step of the teacher, l2, weight snr + 1/sigma_data^2."""
    noise, count = torch.randn_like(x0), 18
    index = torch.randint(0, count - 1, (len(x0),))
    t, s = level(index, count), level(index + 1, count)
    x_t = x0 + noise * like(t, x0)
    masks = torch.get_rng_state()
    y = Preconditioned(student, True)(x_t, t)
    with torch.no_grad():
        denoise = Preconditioned(teacher, False)
        d = (x_t - denoise(x_t, t)) / like(t, x_t)
        x_s = x_t + d * like(s - t, x_t)
        d_s = (x_s - denoise(x_s, s)) / like(s, x_s)
        x_s = x_t + (d + d_s) * like((s - t) / 2, x_t)
        torch.set_rng_state(masks)
        y_target = Preconditioned(target, True)(x_s, s)
    weight = t**-2 + 4.0
    return ((y - y_target) ** 2).mean(dim=list(range(1, y.ndim))) * weight, t


def progressive_losses(student: nn.Module, target: nn.Module, teacher: nn.Module, x0: Tensor) -> tuple[Tensor, Tensor]:
    """(losses (B,), levels (B,)): two Euler steps of the teacher in one, l2, weight max(snr, 1)."""
    noise, steps = torch.randn_like(x0), 8
    index = torch.randint(0, steps, (len(x0),))
    t, m, s = (level(2 * index + j, 2 * steps + 1) for j in range(3))
    x_t = x0 + noise * like(t, x0)
    y = Preconditioned(student, False)(x_t, t)
    with torch.no_grad():
        denoise, x = Preconditioned(teacher, False), x_t
        for high, low in ((t, m), (m, s)):
            x = x + (x - denoise(x, high)) / like(high, x) * like(low - high, x)
        ratio = like(s / t, x)
        y_target = (x - ratio * x_t) / (1 - ratio)
    weight = (t**-2).clamp(min=1)
    return ((y - y_target) ** 2).mean(dim=list(range(1, y.ndim))) * weight, t


Losses = Callable[[nn.Module, nn.Module, nn.Module, Tensor], tuple[Tensor, Tensor]]


class Plain:
    """The plain loop's state; a call is one training step."""

    def __init__(self, teacher: EDMDenoiser, losses: Losses, averages: int, data: Dataset, batch: int) -> None:
        self.teacher = copy.deepcopy(teacher.network).eval().requires_grad_(False)
        self.student = copy.deepcopy(teacher.network).train().requires_grad_(True)
        self.target = copy.deepcopy(self.student).requires_grad_(False)
        self.weights = list(self.student.parameters())
        self.averages = [[p.detach().clone() for p in self.weights] for _ in range(averages)]
        self.optimizer = torch.optim.RAdam(self.weights, lr=LEARNING_RATE)
        self.losses, self.noted = losses, defaultdict[str, list[float]](list)
        self.batches = iter(Batches(data, batch, 0))

    def __call__(self) -> None:
        for p in self.weights:
            if p.grad is not None:
                p.grad.detach_()
                p.grad.zero_()
        losses, levels = self.losses(self.student, self.target, self.teacher, next(self.batches)["x0"])
        for value, sigma in zip(losses.detach().numpy(), levels.numpy(), strict=True):
            self.noted[f"loss_q{min(3, int(4 * sigma / SIGMA_MAX))}"].append(float(value))
        losses.mean().backward()
        with torch.no_grad():
            norms = [(sum(torch.norm(p).item() ** 2 for p in of)) ** 0.5 for of in (self._gradients(), self.weights)]
        self.noted["norms"] = norms
        self.optimizer.step()
        with torch.no_grad():
            for average in self.averages:
                for own, p in zip(average, self.weights, strict=True):
                    own.mul_(DECAY).add_(p, alpha=1 - DECAY)
            for own, p in zip(self.target.parameters(), self.weights, strict=True):
                own.mul_(TARGET_DECAY).add_(p, alpha=1 - TARGET_DECAY)

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.weights if p.grad is not None]


class TakingTurns:
    """A data set with which each of our steps is followed by a plain one: a step asks once, before it begins."""

    def __init__(self, data: Dataset, plain: Plain) -> None:
        self._data, self._plain = data, plain
        self.seconds: list[tuple[float, float]] = []
        self._mark: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def __len__(self) -> int:
        return len(self._data)

    def samples(self, indices: Tensor) -> Tensor:
        now = time.thread_time()
        if self._mark is not None:
            self._plain()
            self.seconds.append((now - self._mark, time.thread_time() - now))
        self._mark = time.thread_time()
        return self._data.samples(indices)


KINDS: dict[str, Losses] = {"consistency": consistency_losses, "progressive": progressive_losses}


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step beside openai/consistency_models'")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--network", choices=TEACHERS, default="digits")
    parser.add_argument("--averages", type=int, default=1, help="moving averages beside the target")
    parser.add_argument("--methods", nargs="+", choices=KINDS, default=list(KINDS), metavar="NAME")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    print("method          ours ms  plain ms  ours/plain: median  least/least")
    for name in arguments.methods:
        teacher, data = TEACHERS[arguments.network]()
        assert isinstance(teacher, EDMDenoiser)
        teacher.sample_shape, teacher.sample_bound = data.shape, data.bound
        ledger = Ledger(arguments.steps, "iterations", forward_flops(teacher, torch.zeros(2, *data.shape)))
        method = build(name, {}, teacher)
        turns = TakingTurns(data, Plain(teacher, KINDS[name], arguments.averages, data, method.batch_size))
        with tempfile.TemporaryDirectory() as folder:
            record = Record(Path(folder))
            fit(method, turns, 0, ledger, Path(folder), record)
            record.close()
        ours, plain = zip(*turns.seconds[5:], strict=True)
        ratio = statistics.median(a / b for a, b in turns.seconds[5:])
        middle = [1000 * statistics.median(side) for side in (ours, plain)]
        print(
            f"{name:<14} {middle[0]:8.2f}  {middle[1]:8.2f}  {ratio:18.3f}  {min(ours) / min(plain):11.3f}", flush=True
        )


if __name__ == "__main__":
    main()
