"""What a training run spends outside its networks: Lightning's loop, the ledger, averages, optimiser, checkpoints.

    python -m fewstep.bench.benchmarks.training_share [--methods NAME ...] [--evaluations N] [--network digits|large]

One process, one thread, the allocator set as in a worker. Each method is trained by the suite's own loop, with its
record and its checkpoints, and the time is the main thread's CPU time. Network: the forwards of every U-Net, and the
backward passes. A busy machine slows the rest more than the network, and lowers the share by some hundredths. Digits:
the shipped teacher of 128,000 weights on 8x8 pixels; large: a network of 5 million untrained weights on 32x32.

`share` is of the typical step: the medians of each sort of step, sorted by how often it calls its networks, times how
many there were. `bare` is the same, but the network's time is that of its calls made again, alone, between two steps.
`whole` is of the whole run, with its start, the steps that the FLOP counter measures, and the checkpoints.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._pytree import tree_map

from ...datasets import frozen, get
from ...datasets.base import Dataset, ImageSet
from ...methods.denoiser import Denoiser, EDMDenoiser
from ...methods.networks.unet import SmallUNet
from ...methods.paths import EDM
from ...methods.specs.teachers.pretrain import PretrainOptions
from ...methods.teachers import pretrain
from ..run.allocator import keep_freed_memory
from ..stages.train import build
from ..training.ledger import Ledger, forward_flops
from ..training.loop import fit
from ..training.tracking import Record

METHODS = (
    "consistency",
    "progressive",
    "tract",
    "boot",
    "sim",
    "diff-instruct",
    "knowledge",
    "bespoke",
    "d-ode",
    "iia",
)
NFE = {"bespoke": 4, "d-ode": 8, "iia": 11}


EVERY = 4
"""Of how many steps one has its network calls made again."""


class Call(NamedTuple):
    """One call of a network; what it was given keeps its values and whether it has a gradient."""

    network: torch.nn.Module
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    gradient: bool

    def again(self) -> None:
        """Forward, and backward where the call had a gradient, which is added to none."""
        with torch.set_grad_enabled(self.gradient):
            output = self.network(*self.arguments, **self.keywords)
        if output.requires_grad:
            given = [a for a in (*self.arguments, *self.keywords.values()) if isinstance(a, Tensor)]
            wanted = [w for w in (*self.network.parameters(), *given) if w.requires_grad]
            torch.autograd.grad(output, wanted, torch.ones_like(output), allow_unused=True)


def _alone(value: Any) -> Any:
    return value.detach().requires_grad_(value.requires_grad) if isinstance(value, Tensor) else value


@dataclass
class Stopwatch:
    """Seconds of the thread's CPU time inside wrapped functions, nested calls once; the networks' calls."""

    seconds: float = 0.0
    calls: list[Call] = field(default_factory=list)
    _open: bool = False

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def inside(owner: Any, *args: Any, **kwargs: Any) -> Any:
            if self._open:
                return function(owner, *args, **kwargs)
            self._open, started = True, time.thread_time()
            try:
                return function(owner, *args, **kwargs)
            finally:
                self.seconds += time.thread_time() - started
                self._open = False
                if isinstance(owner, SmallUNet):
                    given = tree_map(_alone, (args, kwargs))
                    self.calls.append(Call(owner, *given, torch.is_grad_enabled()))

        return inside


@contextmanager
def network_time() -> Iterator[Stopwatch]:
    """The time that the block spends in U-Nets and in backward passes."""
    watch, wrapped = Stopwatch(), ((SmallUNet, "forward"), (torch.Tensor, "backward"))
    originals = [getattr(owner, name) for owner, name in wrapped]
    for (owner, name), function in zip(wrapped, originals, strict=True):
        setattr(owner, name, watch.timed(function))
    try:
        yield watch
    finally:
        for (owner, name), function in zip(wrapped, originals, strict=True):
            setattr(owner, name, function)


class Step(NamedTuple):
    """CPU seconds of one step: of all, inside the networks, and of their calls alone where those were made again."""

    whole: float
    inside: float
    alone: float | None
    calls: int


class Marked:
    """A data set that tells one step from the next: each step asks for its samples once, before it begins."""

    def __init__(self, data: Dataset, watch: Stopwatch) -> None:
        self._data, self._watch = data, watch
        self.steps: list[Step] = []
        self.aside = 0.0
        """Seconds spent on calls made again."""
        self._mark = time.thread_time(), 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def __len__(self) -> int:
        return len(self._data)

    def samples(self, indices: Tensor) -> Tensor:
        (started, before), now = self._mark, time.thread_time()
        calls, self._watch.calls = self._watch.calls, []
        alone = None
        if len(self.steps) % EVERY == EVERY - 1:
            watched = self._watch.seconds
            for call in calls:
                call.again()
            self._watch.calls, self._watch.seconds = [], watched
            alone = time.thread_time() - now
            self.aside += alone
        self.steps.append(Step(now - started, self._watch.seconds - before, alone, len(calls)))
        self._mark = time.thread_time(), self._watch.seconds
        return self._data.samples(indices)


def digits() -> tuple[Denoiser, Dataset]:
    data, name = get("digits"), "digits-unet-128k"
    denoiser = pretrain.denoiser(PretrainOptions.model_validate_json(frozen.facts(name)["options"]), data.shape)
    denoiser.load_state_dict(load_file(frozen.path(name)))
    return denoiser, data


def large() -> tuple[Denoiser, Dataset]:
    """5 million weights, their last layer not zero."""
    torch.manual_seed(0)
    network = SmallUNet(3, 64, (1, 2, 2), 2, 256)
    torch.nn.init.normal_(network.out.weight, std=0.01)
    images = torch.randint(256, (512, 3, 32, 32), dtype=torch.uint8)
    return EDMDenoiser(network, 0.5, EDM()), ImageSet("noise", images)


TEACHERS = {"digits": digits, "large": large}


def typical(steps: list[Step]) -> tuple[float, float, float]:
    """Seconds per step (whole, inside, alone): the medians of each sort of step, weighted by how many there are."""
    sorts = defaultdict(list)
    for step in steps:
        sorts[step.calls].append(step)
    sums = [0.0, 0.0, 0.0]
    for same in sorts.values():
        columns = zip(*(step[:3] for step in same), strict=True)
        values = [[value for value in column if value is not None] for column in columns]
        if all(values):
            sums = [total + len(same) * statistics.median(value) for total, value in zip(sums, values, strict=True)]
    whole, inside, alone = (total / len(steps) for total in sums)
    return whole, inside, alone


def run(name: str, network: str, evaluations: float, options: dict[str, Any]) -> str:
    """Train one method: the network's shares, steps, milliseconds of a typical step inside and outside of it."""
    teacher, data = TEACHERS[network]()
    teacher.sample_shape, teacher.sample_bound = data.shape, data.bound
    ledger = Ledger(evaluations, "evaluations", forward_flops(teacher, torch.zeros(2, *data.shape)))
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder))
        with network_time() as watch:
            started, marked = time.thread_time(), Marked(data, watch)
            method = build(name, options, teacher, nfe=NFE.get(name))
            fit(method, marked, 0, ledger, Path(folder), record)
            seconds = time.thread_time() - started - marked.aside
        record.close()
    whole, inside, alone = typical(marked.steps[1:])
    shares = f"{inside / whole:6.3f} {alone / whole:6.3f} {watch.seconds / seconds:6.3f}"
    return f"{shares} {ledger.steps:6} {1000 * inside:10.2f} {1000 * (whole - inside):8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a training run spends outside its networks")
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="NAME")
    parser.add_argument("--network", choices=TEACHERS, default="digits")
    parser.add_argument("--evaluations", type=float, default=30000, help="the budget; the quickstart's is 100,000")
    parser.add_argument("--batch", type=int, help="instead of each method's own")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    options = {} if arguments.batch is None else {"batch": arguments.batch}
    print("method          share   bare  whole  steps  network ms  rest ms")
    for name in arguments.methods:
        print(f"{name:<14}{run(name, arguments.network, arguments.evaluations, options)}", flush=True)


if __name__ == "__main__":
    main()
