"""The images of a data set through a latent teacher's autoencoder, once: what methods that read data train on."""

import time
from dataclasses import dataclass

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...datasets.archive import ArchivedSet
from ...datasets.base import to_unit_range
from ..errors import TaskError
from ..metrics.extractors.resize import lanczos
from ..plan.kinds import TEACHER, LatentsParams, LatentsResult
from ..store import Artifact
from . import codec
from .context import Context
from .data import load as load_data
from .device import accelerator

LATENTS = "latents.safetensors"
BATCH = 8


@dataclass(frozen=True)
class LatentSet:
    """The means of the latents of images with a caption, `x0`, memory-mapped; image i has the caption of row i."""

    name: str
    file: str
    shape: tuple[int, ...]
    count: int
    classes: int = 0
    bound: None = None

    def __len__(self) -> int:
        return self.count

    def samples(self, indices: Tensor) -> Tensor:
        with safe_open(self.file, "pt") as opened:
            part = opened.get_slice("x0")
            return torch.stack([part[i] for i in indices.tolist()]).float()

    def labels(self, indices: Tensor) -> Tensor:
        return indices.to(torch.int64)


def run(task: Context[LatentsParams]) -> LatentsResult:
    params, device = task.params, accelerator(task.params.device)
    data = load_data(params.dataset, params.content)
    if not isinstance(data, ArchivedSet) or not data.captioned:
        raise TaskError(f"{params.dataset}: its images have no captions to train a text-to-image model with")
    autoencoder = codec.load(task.inputs[TEACHER], device)
    _, height, width = autoencoder.image_shape
    if height > data.shape[1] or width > data.shape[2]:
        own, real = (f"{shape[1]}x{shape[2]}" for shape in (autoencoder.image_shape, data.shape))
        message = f"the teacher's pictures have {own} pixels, the images of {params.dataset} only {real}"
        raise TaskError(f"{message}: give the teacher a `resolution` of {data.shape[1]}")
    rows = torch.tensor(data.captioned)
    parts, flops, start = list[Tensor](), 0.0, time.perf_counter()
    for k, batch in enumerate(rows.split(BATCH)):
        pictures = to_unit_range(lanczos(data.images[batch], height, width)).to(device)
        if k == 0:
            with FlopCounterMode(display=False) as counter:
                autoencoder.encode(pictures[:1])
            flops = float(counter.get_total_flops())
        # The mean, not a draw: a latent is the same in every step.
        parts.append(autoencoder.encode(pictures)[0].half().cpu())
        task.on_progress(min(1.0, (k + 1) * BATCH / len(rows)))
    save_file({"x0": torch.cat(parts).contiguous()}, task.folder / LATENTS)
    seconds = (time.perf_counter() - start) / len(rows)
    return LatentsResult(images=len(rows), seconds_per_image=seconds, flops_per_image=flops)


def load(artifact: Artifact) -> LatentSet:
    file, params = artifact.file(LATENTS), artifact.asked(LatentsParams)
    with safe_open(file, "pt") as opened:
        shape = opened.get_slice("x0").get_shape()
    return LatentSet(f"{params.dataset} latents", str(file), tuple(shape[1:]), shape[0])
