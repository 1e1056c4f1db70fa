"""A network that somebody else trained, in the form in which EDM's are published (Karras et al. 2022)."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ..denoiser import Denoiser
from ..networks.edm import EDMPrecond, Preconditioner, VPPrecond, edm_network, iDDPMPrecond
from ..paths import EDM, VPDiscrete, VPLinear
from ..specs.teachers.checkpoint import CheckpointOptions
from . import edm_pickle, preconditioned
from .edm_pickle import CheckpointError as CheckpointError
from .pretrained import Pretrained


class Checkpoint(NamedTuple):
    """config: {"precond": class, "kwargs": its arguments}; state: its state dict, under EDM's names."""

    config: dict[str, Any]
    state: dict[str, Tensor]

    @property
    def classes(self) -> int:
        """How many labels the network was trained on, 0 without."""
        return int(self.config["kwargs"].get("label_dim", 0))

    def save(self, file: Path) -> None:
        """Write it as safetensors, the configuration in the header."""
        save_file(
            {name: tensor.contiguous() for name, tensor in self.state.items()},
            file,
            {"config": json.dumps(self.config)},
        )


def read(file: Path) -> Checkpoint:
    """EDM's .pkl, or a .safetensors with its configuration in the header (`config`) or in a .json beside it.

    CheckpointError says what is wrong with the file.
    """
    if not file.exists():
        raise CheckpointError(f"{file}: no such file")
    if file.suffix == ".pkl":
        return Checkpoint(*edm_pickle.read(file))
    beside = file.with_suffix(".json")
    try:
        with safe_open(file, "pt") as opened:
            header = (opened.metadata() or {}).get("config")
        config = json.loads(beside.read_text(encoding="utf-8") if header is None else header)
        if not (isinstance(config, dict) and isinstance(config.get("kwargs"), dict) and "precond" in config):
            raise ValueError("its configuration has no precond or no kwargs")
        return Checkpoint(config, load_file(file))
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no configuration in its header, nor a file {beside.name} beside it") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{file}: not a network in EDM's form: {error}") from None


class LabelledNetwork(nn.Module):
    """F(x, c_noise, labels) of EDM's backbone, which takes a row for each sample: one-hot, zeros for the null label.

    labels: (B,) int64 from 0, `classes` or None for the null label.
    """

    model: Any

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes = model, classes

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        output: Tensor = self.model(x, c_noise, rows(condition, self.classes, x), embedding=embedding)
        return output

    def embed(self, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """The backbone's embedding of c_noise (B,) and labels (B,), or null."""
        embedding: Tensor = self.model.embed(c_noise, rows(condition, self.classes, c_noise))
        return embedding


class Negated(LabelledNetwork):
    """The same, its output times -1: EDM's networks for VE are trained on -eps."""

    def forward(
        self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None, embedding: Tensor | None = None
    ) -> Tensor:
        return -super().forward(x, c_noise, condition, embedding)


def pretrained(network: Preconditioner) -> Pretrained:
    """A network of EDM's code as one that was trained on its own path: table 1 of Karras et al., read backwards."""
    shape = (network.img_channels, network.img_resolution, network.img_resolution)
    backbone = LabelledNetwork(network.model, network.label_dim)
    facts: dict[str, Any] = {"shape": shape, "classes": network.label_dim, "null": network.label_dim > 0}
    if isinstance(network, EDMPrecond):
        path = EDM(network.sigma_min, network.sigma_max)
        return Pretrained(backbone, path, "F", preconditioned.c_noise, **facts, sigma_data=network.sigma_data)
    if isinstance(network, VPPrecond):
        labels = network.M - 1
        vp = VPLinear(network.beta_min, network.beta_min + network.beta_d, network.epsilon_t)
        return Pretrained(backbone, vp, "eps", lambda t: labels * t, **facts)
    if isinstance(network, iDDPMPrecond):
        u = network.u.double().flip(0)
        chain = VPDiscrete(tuple((1 - (1 + u[:-1] ** 2) / (1 + u[1:] ** 2)).tolist()), t_min=1 / network.M)
        return Pretrained(backbone, chain, "eps", partial(_nearest_label, chain), **facts)
    ve = EDM(network.sigma_min, network.sigma_max)
    return Pretrained(Negated(network.model, network.label_dim), ve, "eps", lambda t: torch.log(t / 2), **facts)


def _nearest_label(chain: VPDiscrete, t: Tensor) -> Tensor:
    """EDM asks such a network at the label whose noise level is nearest."""
    label = chain.label(t).clamp(min=0)
    below, above = label.floor(), label.ceil()
    levels = [chain.noise_level(chain.time_of_label(n)) for n in (below, above)]
    return torch.where(chain.noise_level(t) - levels[0] <= levels[1] - chain.noise_level(t), below, above)


def rows(labels: Tensor | None, classes: int, x: Tensor) -> Tensor | None:
    """Labels (B,) as rows (B, classes) of x's dtype, of zeros for the label `classes`; None, which stands for zeros."""
    if labels is None or classes == 0:
        return None
    return functional.one_hot(labels.to(x.device), classes + 1)[:, :classes].to(x.dtype)


def denoiser(checkpoint: Checkpoint, options: CheckpointOptions, shape: Sequence[int], classes: int) -> Denoiser:
    """The network as a denoiser of samples of `shape`, on EDM's path between the sigmas that it knows.

    classes: of the data set. CheckpointError, which does not name the file, where the network is not one of this data
    set.
    """
    try:
        network: Any = edm_network(
            {**checkpoint.config, "kwargs": {**checkpoint.config["kwargs"], "dropout": options.dropout}}
        )
        network.load_state_dict(checkpoint.state)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"not a network in EDM's form: {' '.join(str(error).split())[:300]}") from None
    own = (network.img_channels, network.img_resolution, network.img_resolution)
    if own != tuple(shape):
        raise CheckpointError(f"its images have shape {own}, the data set's {tuple(shape)}")
    if network.label_dim not in (0, classes):
        raise CheckpointError(f"it was trained on {network.label_dim} classes, and the data set has {classes}")
    lowest, highest = max(options.sigma_min, network.sigma_min), min(options.sigma_max, network.sigma_max)
    return preconditioned.denoiser(pretrained(network), lowest, highest)
