"""From samples in [-1, 1] to uint8 images. Metrics are always taken from uint8, as those of saved images."""

from collections.abc import Callable

import torch
from torch import Tensor


def rounded(x: Tensor) -> Tensor:
    """EDM's (generate.py): floor(127.5 x + 128), clipped, the nearest grey level. x of any shape in [-1, 1]."""
    return (x * 127.5 + 128).clamp(0, 255).to(torch.uint8)


def truncated(x: Tensor) -> Tensor:
    """ADM's and the consistency models' (image_sample.py): floor(127.5 (x + 1)), clipped, half a grey level darker."""
    return ((x + 1) * 127.5).clamp(0, 255).to(torch.uint8)


QUANTISERS: dict[str, Callable[[Tensor], Tensor]] = {"round": rounded, "truncate": truncated}
"""By the name that protocols carry; "round" is the default."""
