"""Samples of one method at one NFE, from the noises that every method starts from."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from ...methods import computing
from ...methods.denoiser import Denoiser, metered, networks
from ...methods.method import Method
from ...methods.randomness import noise
from ...reports.status import Kind, Status
from ..errors import TaskError
from ..metrics.batch_size import batched
from ..metrics.extractors.quantise import QUANTISERS
from ..plan.kinds import Sampled, SampleParams, Trained
from ..store import Artifact
from ..training.counting import Counted
from . import shards, teacher, train
from .context import Context
from .device import accelerator
from .shards import Batch, Shards, Took

SAMPLES = "samples"
FLOATS, BYTES = "x0", "x8"
"""The arrays: samples as they were made, and rounded to 8 bits."""
BATCH = 256
"""Samples at a time, where they fit."""
ROOM = 2**25
"""Bytes of a batch in float32 at most on the CPU, where a solver holds several of them beside everything else."""


class Diverged(Exception):
    """Samples are not finite."""


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


def batch_size(device: str, shape: Sequence[int]) -> int:
    """Samples at a time to begin with."""
    return min(BATCH, shards.fitting(shape, ROOM)) if device == "cpu" else BATCH


def batches(count: int, make: Callable[[range], Tensor], on_progress: Callable[[float], None]) -> Tensor:
    """make(rows) over 0..count-1 in batches, joined on the CPU."""
    parts = []
    for rows, made in batched("samples", range(count), BATCH, lambda rows: make(rows).cpu()):
        parts.append(made)
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
    device = accelerator(params.device)
    method, shape = method.to(device).eval(), teacher.sample_shape(parent)
    size = batch_size(device, shape)
    make = _measured(method, params, sampler(method, params.seed, params.nfe, shape))
    try:
        with computing.computed(networks(method), **params.computing):
            took = shards.write(task.folder, SAMPLES, params.samples, shape, size, make, task.on_progress)
    except Diverged:
        shards.discard(task.folder, SAMPLES)
        return Sampled(status=Status(Kind.DIVERGED, "samples are not finite"))
    return Sampled(
        samples=params.samples,
        nfe=params.nfe,
        evaluations=_mean(took, "evaluations") if _measures(method) else None,
        forwards=_mean(took, "forwards"),
        flops_per_image=took[0]["flops"] / took[0]["rows"],
        # The first batch, whose operations were counted, only where there is no other.
        seconds_per_image=_mean(took[1:] or took, "seconds"),
        labels=params.labels if denoiser.conditional else None,
    )


def _measured(method: Method, params: SampleParams, make: Callable[[range], Tensor]) -> Callable[[range], Batch]:
    """make(rows) as it is kept, with what it took. Raises Diverged, and TaskError for an NFE that was not asked for."""

    def measured(rows: range) -> Batch:
        counted, start = Counted(), time.perf_counter()
        with ExitStack() as inside:
            meter = inside.enter_context(metered())
            inside.enter_context(torch.no_grad())
            if rows.start == 0:
                inside.enter_context(counted)
            x0 = make(rows).cpu()
        seconds = time.perf_counter() - start
        if not _measures(method) and meter.evaluations != params.nfe * len(x0):
            each = meter.evaluations / len(x0)
            raise TaskError(f"{params.method} took {each:g} evaluations a sample, not {params.nfe}")
        if not x0.isfinite().all():
            raise Diverged
        took = {"evaluations": meter.evaluations, "forwards": meter.forwards, "seconds": seconds}
        if rows.start == 0:
            took["flops"] = counted.flops
        return Batch(_kept(x0, rows, params), took)

    return measured


def _measures(method: Method) -> bool:
    measures: bool = getattr(method, "measures_nfe", False)
    return measures


def _kept(x0: Tensor, rows: range, params: SampleParams) -> dict[str, Tensor]:
    """What is kept of samples `rows`, by array."""
    if params.rounding is None:
        return {FLOATS: x0}
    exact = max(0, (params.exact or 0) - rows.start)
    return {BYTES: QUANTISERS[params.rounding](x0), **({FLOATS: x0[:exact]} if exact else {})}


def _mean(took: Took, what: str) -> float:
    """A sample's."""
    return sum(batch[what] for batch in took) / sum(batch["rows"] for batch in took)


def load(artifact: Artifact) -> Shards:
    """The samples (N, ...) of an artifact as they were made: all, or the first that are kept so."""
    params, count = artifact.asked(SampleParams), artifact.answer(Sampled).samples
    return Shards(artifact, SAMPLES, FLOATS, count if params.rounding is None else min(count, params.exact or 0))


def rounded(artifact: Artifact) -> Shards:
    """The samples uint8 (N, C, H, W) of an artifact that keeps no more of them."""
    return Shards(artifact, SAMPLES, BYTES, artifact.answer(Sampled).samples)
