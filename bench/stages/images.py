"""Images that were made anywhere, kept as they were read: the row goes on when they have moved."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...datasets.images import Images
from ...datasets.registry import ArchiveError
from ..errors import TaskError
from ..plan.kinds import ImagesParams, Sampled
from ..store import Artifact
from .context import Context

IMAGES = "images.safetensors"
BATCH = 256


def run(task: Context[ImagesParams]) -> Sampled:
    params = task.params
    try:
        found = Images(Path(params.source))
        if found.content() != params.content:
            raise TaskError(f"{params.source} has changed since this run was planned; run it again")
        parts = []
        for first in range(0, params.samples, BATCH):
            parts.append(found[slice(first, min(first + BATCH, params.samples))])
            task.on_progress(min(first + BATCH, params.samples) / params.samples)
    except ArchiveError as error:
        raise TaskError(str(error)) from None
    save_file({"x8": torch.cat(parts).contiguous()}, task.folder / IMAGES)
    return Sampled(samples=params.samples)


def load(artifact: Artifact) -> Tensor:
    """The images of an artifact, uint8 (N, C, H, W)."""
    return load_file(artifact.file(IMAGES))["x8"]
