"""Modules of diffusers and transformers with weights that are read here."""

import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..edm_pickle import CheckpointError
from ..forms.base import outline
from .folder import line

INSTALL = "text-to-image folders need the package {0}: pip install 'fewstep[captions]'"
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Of attention, before diffusers 0.15."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def imported(package: str) -> Any:
    """The package, which looks nothing up on a hub. CheckpointError if it is not installed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        return __import__(package)
    except ImportError:
        raise CheckpointError(INSTALL.format(package)) from None


def state(files: Iterable[Path], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The tensors of safetensors, those of real numbers in `dtype`. CheckpointError for other files."""
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            for name, tensor in load_file(file).items():
                found[name] = tensor.to(dtype) if tensor.is_floating_point() else tensor
        except (OSError, SafetensorError, ValueError) as error:
            raise CheckpointError(f"{file}: not whole safetensors: {line(error)}") from None
    return found


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under the names that attention has since version 0.15, its 1x1 convolutions as matrices."""
    pattern = re.compile(r"(\.attentions\.\d+\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)")
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = pattern.sub(lambda m: m[1] + OLD_NAMES[m[2]], name)
        found[new] = tensor if new == name or tensor.ndim < 4 else tensor.flatten(1)
    return found


def module(class_name: str, kwargs: Mapping[str, Any], state: Mapping[str, Tensor]) -> Any:
    """diffusers' module of that class with these weights; made without memory first, so that only what fits is ever
    allocated. CheckpointError where configuration and weights make none.
    """
    made = getattr(imported("diffusers"), class_name)
    given = {key: value for key, value in kwargs.items() if not key.startswith("_")}
    try:
        found = _filled(lambda: made(**given), state, "meta")
        if any(buffer.is_meta for buffer in found.buffers()):
            found = _filled(lambda: made(**given), state, "cpu")
    except Exception as error:
        # A configuration may hold anything, and asks for anything of the library.
        raise CheckpointError(f"not a {class_name} of diffusers: {line(error)}") from None
    return found


def _filled(make: Callable[[], nn.Module], state: Mapping[str, Tensor], device: str) -> nn.Module:
    found = outline(make, device)
    found.load_state_dict(dict(state), assign=True)
    return found


def accepted(class_name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings that the class knows: the others are of an older class whose place it took."""
    known = inspect.signature(getattr(imported("diffusers"), class_name).__init__).parameters
    return {key: value for key, value in kwargs.items() if key in known}


def residual_blocks(unet: Any) -> list[tuple[nn.Module, int]]:
    """Of a U-Net's way down, the first in the middle, of the way up, with their attention; and the channels of each."""
    found = list[tuple[nn.Module, int]]()
    middle = unet.mid_block
    for part in [*unet.down_blocks, *([] if middle is None else [middle]), *unet.up_blocks]:
        attentions = list(getattr(part, "attentions", None) or [])
        for k, block in enumerate(part.resnets[:1] if part is middle else part.resnets):
            attention = attentions[k] if k < len(attentions) else None
            found.append((block if attention is None else attention, block.out_channels))
    return found
