"""The embedding of a label or time that DDPM's descendants share, and in which they differ."""

import math
from typing import Literal

import torch
from torch import Tensor

Order = Literal["cos-sin", "sin-cos"]


def sinusoids(time: Tensor, width: int, order: Order, endpoint: bool, dtype: torch.dtype) -> Tensor:
    """time (B,) -> (B, width) in `dtype`: frequencies exp(-ln(10000) i/n) for i < width/2, n = width/2.

    With `endpoint` n = width/2 - 1, so that the lowest frequency is 1/10000 (Ho et al. 2020, from tensor2tensor);
    without as in Nichol & Dhariwal 2021. Angles are in float32 at least: half precision rounds labels.
    """
    exact, half = torch.promote_types(dtype, torch.float32), width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=time.device) * (-math.log(10000) / (half - endpoint))
    angles = time.to(exact)[:, None] * exponents.exp().to(exact)
    parts = (angles.cos(), angles.sin()) if order == "cos-sin" else (angles.sin(), angles.cos())
    return torch.cat(parts, dim=1).to(dtype)
