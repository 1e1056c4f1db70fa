"""Samples of one method at one NFE, from the noises that every method starts from."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...methods.denoiser import Denoiser, metered
from ...methods.method import Method
from ...methods.randomness import noise
from ...reports.status import Kind, Status
from ..errors import TaskError
from ..plan.kinds import Sampled, SampleParams, Trained
from ..store import Artifact
from . import teacher, train
from .context import Context
from .device import accelerator

SAMPLES = "samples.safetensors"
BATCH = 256


def start_noise(seed: int, rows: Sequence[int], shape: Sequence[int], purpose: str = "") -> Tensor:
    """The unit noise that samples `rows` of `seed` start from: the same for every method and batch size."""
    return noise(seed, f"start{purpose}", rows, shape)


def start_labels(
    denoiser: Denoiser, seed: int, rows: Sequence[int], device: str = "cpu", purpose: str = ""
) -> Tensor | None:
    """The labels of samples `rows` of `seed`, in the proportions of the teacher's `class_counts`: the same for every
    method and batch size. None for an unconditional teacher.
    """
    labels = denoiser.conditions(seed, f"label{purpose}", rows)
    return None if labels is None else labels.to(device)


def sampler(method: Method, seed: int, nfe: int, shape: Sequence[int], purpose: str = "") -> Callable[[range], Tensor]:
    """make(rows): the method's samples `rows` of `seed`; other purposes have other noises and labels."""
    device = str(method.device)

    def make(rows: range) -> Tensor:
        def draws(j: int) -> Tensor:
            return noise(seed, f"draw-{j}{purpose}", rows, shape).to(device)

        start = start_noise(seed, rows, shape, purpose).to(device)
        labels = start_labels(method.teacher, seed, rows, device, purpose)
        return method.predict_step({"noise": start, "nfe": nfe, "condition": labels, "draws": draws}, 0)

    return make


def batches(count: int, make: Callable[[range], Tensor], on_progress: Callable[[float], None]) -> Tensor:
    """make(rows) over 0..count-1 in batches, joined on the CPU."""
    parts = []
    for first in range(0, count, BATCH):
        rows = range(first, min(count, first + BATCH))
        parts.append(make(rows).cpu())
        on_progress(rows.stop / count)
    return torch.cat(parts).contiguous()


def run(task: Context[SampleParams]) -> Sampled:
    params, parent = task.params, task.inputs["teacher"]
    trained = task.inputs.get("train")
    if trained is not None and not (status := trained.answer(Trained).status).done:
        return Sampled(status=status)
    denoiser = teacher.load(task.inputs, params.guidance, params.labels)
    method = (
        train.load(trained, denoiser, params.transfer)
        if trained
        else train.build(params.method, params.options, denoiser)
    )
    method = method.to(accelerator(params.device)).eval()
    nfe = params.nfe
    make = sampler(method, params.seed, nfe, teacher.sample_shape(parent))
    counter, ends = FlopCounterMode(display=False), [time.perf_counter()]

    def measured(rows: range) -> Tensor:
        with counter if rows.start == 0 else nullcontext():
            x0 = make(rows)
        ends.append(time.perf_counter())
        return x0

    with metered() as meter, torch.no_grad():
        x0 = batches(params.samples, measured, task.on_progress)
    measures = getattr(method, "measures_nfe", False)
    if not measures and meter.evaluations != nfe * len(x0):
        raise TaskError(f"{params.method} took {meter.evaluations / len(x0):g} evaluations a sample, not {nfe}")
    if not x0.isfinite().all():
        return Sampled(status=Status(Kind.DIVERGED, "samples are not finite"))
    save_file({"x0": x0}, task.folder / SAMPLES)
    return Sampled(
        samples=len(x0),
        nfe=nfe,
        evaluations=meter.evaluations / len(x0) if measures else None,
        forwards=meter.forwards / len(x0),
        flops_per_image=counter.get_total_flops() / min(BATCH, len(x0)),
        seconds_per_image=_seconds_per_image(ends, len(x0)),
        labels=params.labels if denoiser.conditional else None,
    )


def _seconds_per_image(ends: list[float], count: int) -> float:
    """From the times when batches ended; the first, whose operations were counted, only where there is no other."""
    return (ends[-1] - ends[1]) / (count - BATCH) if count > BATCH else (ends[1] - ends[0]) / count


def load(artifact: Artifact) -> Tensor:
    """The samples (N, ...) of an artifact."""
    return load_file(artifact.file(SAMPLES))["x0"]
