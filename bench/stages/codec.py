"""The autoencoder of a latent teacher: its samples become pictures, in batches, and what that costs is kept apart."""

import time
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ...methods.codec import Codec
from ...methods.specs.teachers.pipeline import PipelineOptions
from ...methods.teachers.edm_pickle import CheckpointError
from ...methods.teachers.pipelines import pipeline
from ..errors import TaskError
from ..metrics.batch_size import batched
from ..plan.kinds import TeacherParams
from ..store import Artifact

BATCH = 8
"""Latents that are decoded at a time: a picture of 512 pixels takes hundreds of megabytes on its way."""


class Decoder:
    """Decodes on the codec's device in float32; `costs` are those of what has been decoded so far."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._flops, self._seconds, self._count = 0.0, 0.0, 0

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """Pictures (B, C, H, W) about [-1, 1], on the CPU, of latents (B, ...)."""
        parts = batched(
            "latents", range(len(latents)), BATCH, lambda rows: self._decoded(latents[rows.start : rows.stop])
        )
        return torch.cat([part for _, part in parts])

    def _decoded(self, part: Tensor) -> Tensor:
        if not self._flops:
            with FlopCounterMode(display=False) as counter:
                self.codec.decode(part[:1])
            self._flops = float(counter.get_total_flops())
        start = time.perf_counter()
        decoded = self.codec.decode(part).float().cpu()
        self._seconds += time.perf_counter() - start
        self._count += len(part)
        return decoded

    def costs(self) -> dict[str, float]:
        """FLOPs and seconds of decoding a picture, as a score answers them."""
        if not self._count:
            return {}
        return {"decode_flops_per_image": self._flops, "decode_seconds_per_image": self._seconds / self._count}


class Later:
    """The codec of a pipeline, read when a picture is first asked for; copies share it."""

    def __init__(self, options: PipelineOptions) -> None:
        self._options = options

    def __deepcopy__(self, memo: dict[int, Any]) -> "Later":
        return self

    @cached_property
    def _found(self) -> Codec:
        return _read(self._options)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._found.image_shape

    @property
    def identity(self) -> str:
        return self._found.identity

    def decode(self, latents: Tensor) -> Tensor:
        return self._found.to(latents.device).decode(latents)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._found.to(images.device).encode(images)

    def to(self, device: torch.device | str) -> "Later":
        return self


def load(artifact: Artifact, device: str) -> Codec:
    """The autoencoder of a pipeline, whose teacher's artifact it is, on a device."""
    return _read(PipelineOptions.model_validate(artifact.asked(TeacherParams).teacher)).to(device)


def _read(options: PipelineOptions) -> Codec:
    try:
        return pipeline.read(options.path, options.resolution).codec()
    except CheckpointError as error:
        raise TaskError(str(error)) from None
