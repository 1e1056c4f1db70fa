"""Denoisers D(x; sigma) of EDM's checkpoints (Karras et al. 2022): a network under one of table 1's preconditionings.

D = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x, c_noise(sigma), labels).
"""

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from .dhariwal import DhariwalUNet
from .song import SongUNet

MODELS: dict[str, type[nn.Module]] = {"SongUNet": SongUNet, "DhariwalUNet": DhariwalUNet}


class Preconditioner(nn.Module, ABC):
    """D(x; sigma) of a network F, with noise levels from sigma_min to sigma_max.

    x: (B, C, H, W); sigma: float, () or (B,); class_labels: one-hot (B, label_dim), None for zeros;
    augment_labels: (B, augment_dim), None for an image that was not augmented. Result: (B, C, H, W), in float32
    unless the network is in float64. `options` are the network's own; use_fp16 is known because EDM's files say it, and
    changes nothing.
    """

    default_model = "DhariwalUNet"
    outputs_per_channel = 1
    sigma_min: float
    sigma_max: float

    def __init__(
        self,
        img_resolution: int,
        img_channels: int,
        label_dim: int = 0,
        use_fp16: bool = False,
        model_type: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.img_resolution, self.img_channels, self.label_dim = img_resolution, img_channels, label_dim
        self.model = MODELS[model_type or self.default_model](
            img_resolution=img_resolution,
            in_channels=img_channels,
            out_channels=img_channels * self.outputs_per_channel,
            label_dim=label_dim,
            **options,
        )

    @abstractmethod
    def scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(c_skip, c_out, c_in, c_noise), each of sigma's shape."""

    def forward(
        self,
        x: Tensor,
        sigma: Tensor | float,
        class_labels: Tensor | None = None,
        augment_labels: Tensor | None = None,
    ) -> Tensor:
        inner = next(self.model.parameters()).dtype
        dtype = torch.promote_types(inner, torch.float32)
        x = x.to(dtype)
        sigma = torch.as_tensor(sigma, dtype=dtype, device=x.device).reshape(-1, 1, 1, 1)
        c_skip, c_out, c_in, c_noise = self.scalings(sigma)
        output = self.model((c_in * x).to(inner), c_noise.flatten(), class_labels, augment_labels)
        # Where the network also predicts a variance, it is in the second half of the channels.
        return c_skip * x + c_out * output[:, : self.img_channels].to(dtype)


class EDMPrecond(Preconditioner):
    """EDM's own: the network's inputs and targets have unit variance for data of standard deviation sigma_data."""

    def __init__(
        self, *, sigma_min: float = 0.0, sigma_max: float = math.inf, sigma_data: float = 0.5, **network: Any
    ) -> None:
        super().__init__(**network)
        self.sigma_min, self.sigma_max, self.sigma_data = float(sigma_min), float(sigma_max), float(sigma_data)

    def scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        variance = sigma**2 + self.sigma_data**2
        c_out = sigma * self.sigma_data * variance.rsqrt()
        return self.sigma_data**2 / variance, c_out, variance.rsqrt(), sigma.log() / 4


class VPPrecond(Preconditioner):
    """Noise prediction on the variance-preserving path with beta linear in t (Song et al. 2021), M labels."""

    default_model = "SongUNet"

    def __init__(
        self, *, beta_d: float = 19.9, beta_min: float = 0.1, M: int = 1000, epsilon_t: float = 1e-5, **network: Any
    ) -> None:
        super().__init__(**network)
        self.beta_d, self.beta_min, self.M, self.epsilon_t = float(beta_d), float(beta_min), M, float(epsilon_t)
        self.sigma_min, self.sigma_max = self._sigma(self.epsilon_t), self._sigma(1.0)

    def _sigma(self, time: float) -> float:
        # In float32, as EDM has it: its sigma_min is 2.4 percent off the exact one, and its samplers stop there.
        t = torch.tensor(time, dtype=torch.float32, device="cpu")
        return float(((self.beta_d / 2 * t**2 + self.beta_min * t).exp() - 1).sqrt())

    def scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # Not log1p: in float32 it differs at small sigma, and a checkpoint's c_noise is what it was trained with.
        t = ((self.beta_min**2 + 2 * self.beta_d * (1 + sigma**2).log()).sqrt() - self.beta_min) / self.beta_d
        return torch.ones_like(sigma), -sigma, (sigma**2 + 1).rsqrt(), (self.M - 1) * t


class VEPrecond(Preconditioner):
    """Score prediction on the variance-exploding path (Song et al. 2021)."""

    default_model = "SongUNet"

    def __init__(self, *, sigma_min: float = 0.02, sigma_max: float = 100.0, **network: Any) -> None:
        super().__init__(**network)
        self.sigma_min, self.sigma_max = float(sigma_min), float(sigma_max)

    def scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return torch.ones_like(sigma), sigma, torch.ones_like(sigma), (sigma / 2).log()


class iDDPMPrecond(Preconditioner):  # noqa: N801 - the checkpoints' name
    """Noise prediction at M discrete levels of the cosine schedule (Nichol & Dhariwal 2021), with a variance beside it.

    u: (M + 1,), from the noisiest level down to 0. c_noise is the label of the nearest level.
    """

    outputs_per_channel = 2
    u: Tensor

    def __init__(self, *, C_1: float = 0.001, C_2: float = 0.008, M: int = 1000, **network: Any) -> None:
        super().__init__(**network)
        self.M = M
        u = iddpm_levels(C_1, C_2, M)
        self.register_buffer("u", u)
        self.sigma_min, self.sigma_max = float(u[M - 1]), float(u[0])

    def scalings(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        nearest = (sigma[..., None] - self.u.to(sigma.dtype)).abs().argmin(dim=-1)
        c_noise = (self.M - 1 - nearest).to(sigma.dtype)
        return torch.ones_like(sigma), -sigma, (sigma**2 + 1).rsqrt(), c_noise


def iddpm_levels(C_1: float, C_2: float, M: int) -> Tensor:
    """u_0 > ... > u_M = 0, (M + 1,) (Karras et al. 2022, table 1): no step of alpha_bar is below the ratio C_1."""
    # In float32, as EDM has it: its sigma_min is 0.14 percent off the exact one, and its samplers stop there.
    angles = torch.arange(M + 1, dtype=torch.float32, device="cpu") * (math.pi / 2) / M / (C_2 + 1)
    alpha_bar = angles.sin() ** 2
    levels = [torch.zeros((), device="cpu")]
    for ratio in (alpha_bar[:-1] / alpha_bar[1:]).clamp(min=C_1).flip(0):
        levels.append(((levels[-1] ** 2 + 1) / ratio - 1).sqrt())
    return torch.stack(levels[::-1])


PRECONDITIONERS: dict[str, type[Preconditioner]] = {
    "EDMPrecond": EDMPrecond,
    "VPPrecond": VPPrecond,
    "VEPrecond": VEPrecond,
    "iDDPMPrecond": iDDPMPrecond,
}


def edm_network(config: dict[str, Any]) -> Preconditioner:
    """The network that `config` describes, with fresh weights, in training mode.

    `config` holds EDM's constructor arguments, either under "kwargs" beside "precond", or flat. Absent arguments
    have EDM's defaults; without "precond" the preconditioning is EDM's own. Raises ValueError for a name or an
    argument that EDM does not have.
    """
    name = config.get("precond", "EDMPrecond")
    arguments = dict(config["kwargs"]) if "kwargs" in config else {k: v for k, v in config.items() if k != "precond"}
    if name not in PRECONDITIONERS:
        raise ValueError(f"unknown precond {name!r}; one of {', '.join(PRECONDITIONERS)}")
    precond = PRECONDITIONERS[name]
    model_type = arguments.get("model_type", precond.default_model)
    if model_type not in MODELS:
        raise ValueError(f"unknown model_type {model_type!r}; one of {', '.join(MODELS)}")
    known = {
        argument
        for function in (Preconditioner.__init__, precond.__init__, MODELS[model_type].__init__)
        for argument in inspect.signature(function).parameters
    } - {"self", "in_channels", "out_channels", "options", "network"}
    if unknown := sorted(set(arguments) - known):
        raise ValueError(f"unknown arguments of {name} with {model_type}: {', '.join(unknown)}")
    if missing := sorted({"img_resolution", "img_channels"} - set(arguments)):
        raise ValueError(f"missing arguments of {name}: {', '.join(missing)}")
    return precond(**arguments)
