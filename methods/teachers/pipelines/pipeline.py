"""A folder with a text-to-image pipeline, read: its network as a denoiser, its autoencoder, its text encoders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...codec import Codec
from ...denoiser import EDMDenoiser
from ...prompts import Encoded, Prompts, PromptTable
from .. import preconditioned
from ..edm_pickle import CheckpointError
from ..forms import torch_file
from ..forms.base import tensors
from . import autoencoder, building, encoders, facts, pixart_names
from .facts import DEFAULT, Encoding, Facts
from .library import DTYPES, state

SIGMAS = (0.002, 80.0)
"""Noise levels between which a network is asked, where it knows them."""


@dataclass(frozen=True)
class Pipeline:
    """A text-to-image folder, of which nothing but configurations has been read yet.

    network_file: weights in place of the folder's. prediction: what the network says, in place of the scheduler's.
    """

    facts: Facts
    network_file: Path | None = None
    prediction: str | None = None

    def checkpoint(self, dtype: str = "float32") -> tuple[dict[str, Any], dict[str, Tensor]]:
        """(config, state dict) of the network, for `building.build`."""
        if self.network_file is None:
            found = state(self.facts.network_files(), DTYPES[dtype])
        else:
            found = {name: tensor.to(DTYPES[dtype]) for name, tensor in _tensors(self.network_file).items()}
        if self.facts.kind == "pixart" and pixart_names.recognised(found):
            found = pixart_names.translated(found)
        return building.configuration(self.facts, self.prediction), found

    def denoiser(
        self,
        table: PromptTable,
        prompts: Prompts | None = None,
        guidance: float | None = None,
        dtype: str = "float32",
        codec: Codec | None = None,
    ) -> EDMDenoiser:
        """The network on EDM's path, told prompts by rows of `table`; in evaluation mode.

        prompts: which rows samples are drawn with, by default all but the last. guidance: the scale of a network that
        is told one; others are guided by denoiser.Guided with null None. dtype: of the weights.
        """
        if self.facts.embeds_guidance != (guidance is not None):
            needs = "is told" if self.facts.embeds_guidance else "is not told"
            raise CheckpointError(f"{self.facts.folder.name}: its network {needs} the guidance scale")
        pretrained = building.build(*self.checkpoint(dtype), table, guidance)
        found = preconditioned.denoiser(pretrained, *SIGMAS)
        found.sample_shape, found.sample_bound, found.codec = pretrained.shape, None, codec
        rows = range(table.null)
        found.prompts = prompts or Prompts(rows, rows, table.null)
        return found.eval()

    def codec(self) -> autoencoder.Autoencoder:
        """What is between the denoiser's latents and images."""
        return autoencoder.read(self.facts)

    def encode(
        self,
        prompts: Sequence[str],
        encoding: Encoding = DEFAULT,
        device: torch.device | str = "cpu",
    ) -> Iterator[Encoded]:
        """Rows for prompts.write: len(prompts) + 1, the null prompt last. See encoders.encode."""
        return encoders.encode(self.facts, prompts, encoding, device)

    def identity(self, encoding: Encoding = DEFAULT) -> str:
        """Of a table of prompts encoded here."""
        return self.facts.identity(encoding)


def read(
    folder: Path, resolution: int | None = None, network_file: Path | None = None, prediction: str | None = None
) -> Pipeline:
    """The pipeline in a folder. resolution: sides of an image in pixels, None for the network's own.

    CheckpointError, in one line, for a folder that is none of those in `facts.KINDS`.
    """
    if prediction is not None and prediction not in facts.PREDICTIONS:
        raise CheckpointError(f"prediction {prediction!r}: one of {', '.join(facts.PREDICTIONS)}")
    found = facts.read(folder, resolution)
    if network_file is not None and not network_file.is_file():
        raise CheckpointError(f"{network_file}: no such file")
    return Pipeline(found, network_file, prediction)


def _tensors(file: Path) -> dict[str, Tensor]:
    """Of safetensors, or of a file of torch.save whose tensors alone are read, be they an average's."""
    if file.suffix == ".safetensors":
        return state([file])
    content = torch_file.read(file)
    for key in ("ema", "state_dict", "state_dict_ema", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    return tensors(content)
