"""What a training run spends outside its networks: Lightning's loop, the ledger, averages, optimiser, checkpoints.

    python -m fewstep.bench.benchmarks.training_share [--methods NAME ...] [--evaluations N] [--network digits|large]

One process, one thread. Each method is trained by the suite's own loop, with its record and its checkpoints, and the
time is the main thread's CPU time, which a machine that is busy with other work changes little. Network: the forwards
of every U-Net, and the backward passes. Digits: the shipped teacher of 128,000 weights on 8x8 pixels; large: a
network of 5 million untrained weights on 32x32. The first steps of a run are measured by the FLOP counter, which a
short run shows more than a long one.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ...datasets import frozen, get
from ...datasets.base import Dataset, ImageSet
from ...methods.denoiser import Denoiser, EDMDenoiser
from ...methods.networks.unet import SmallUNet
from ...methods.paths import EDM
from ...methods.specs.teachers.pretrain import PretrainOptions
from ...methods.teachers import pretrain
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


@dataclass
class Stopwatch:
    """Seconds of the thread's CPU time inside wrapped functions, nested calls once."""

    seconds: float = 0.0
    _open: bool = False

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            if self._open:
                return function(*args, **kwargs)
            self._open, started = True, time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.thread_time() - started
                self._open = False

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


def run(name: str, network: str, evaluations: float, options: dict[str, Any]) -> str:
    """Train one method: share of the network, steps, milliseconds a step inside and outside of it."""
    teacher, data = TEACHERS[network]()
    teacher.sample_shape, teacher.sample_bound = data.shape, data.bound
    ledger = Ledger(evaluations, "evaluations", forward_flops(teacher, torch.zeros(2, *data.shape)))
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder))
        started = time.thread_time()
        with network_time() as watch:
            method = build(name, options, teacher, nfe=NFE.get(name))
            fit(method, data, 0, ledger, Path(folder), record)
        seconds = time.thread_time() - started
        record.close()
    inside, outside = (1000 * s / ledger.steps for s in (watch.seconds, seconds - watch.seconds))
    return f"{watch.seconds / seconds:8.3f} {ledger.steps:6} {inside:10.2f} {outside:8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a training run spends outside its networks")
    parser.add_argument("--methods", nargs="+", default=METHODS, metavar="NAME")
    parser.add_argument("--network", choices=TEACHERS, default="digits")
    parser.add_argument("--evaluations", type=float, default=30000, help="the budget; the quickstart's is 100,000")
    parser.add_argument("--batch", type=int, help="instead of each method's own")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = {} if arguments.batch is None else {"batch": arguments.batch}
    print("method            share  steps  network ms  rest ms")
    for name in arguments.methods:
        print(f"{name:<14}{run(name, arguments.network, arguments.evaluations, options)}", flush=True)


if __name__ == "__main__":
    main()
