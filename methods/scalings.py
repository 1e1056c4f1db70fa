"""What a network is given: EDM's scalings, times as numbers, dtypes."""

import torch
from torch import Tensor, nn

from .paths import Scalar, expand


def edm_scalings(sigma: Scalar, sigma_data: float) -> tuple[Scalar, Scalar, Scalar]:
    """(c_skip, c_out, c_in) of EDM, table 1; sigma is a float or a tensor of any shape."""
    total = sigma**2 + sigma_data**2
    root = total**0.5
    return sigma_data**2 / total, sigma * sigma_data / root, 1 / root


def as_number(t: Tensor) -> Scalar:
    """One time for all samples as a float where it can be read without a wait and no gradient is lost."""
    return float(t) if t.ndim == 0 and t.device.type == "cpu" and not t.requires_grad else t


def factor(c: Scalar, x: Tensor) -> Scalar:
    """c, a float or a tensor () or (B,), so that it multiplies x (B, ...)."""
    return expand(c, x) if isinstance(c, Tensor) else c


def parameter_dtype(network: nn.Module, x: Tensor) -> torch.dtype:
    """The dtype that the network computes in; x's own for one without parameters, or that casts x itself."""
    if getattr(network, "casts_itself", False):
        return x.dtype
    return next((p.dtype for p in network.parameters()), x.dtype)


def time_dtype(network: nn.Module, given: torch.dtype) -> torch.dtype:
    """The dtype in which a network that is given x in the dtype `given` is told its time or label: never half
    precision, in which 999 would be 1000.
    """
    if getattr(network, "casts_itself", False):
        return torch.float64
    return torch.promote_types(given, torch.float32)
