"""A network that somebody else trained, in the form in which EDM's are published (Karras et al. 2022)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ..denoiser import Condition, Denoiser, EDMDenoiser, parameter_dtype
from ..networks.edm import edm_network
from ..paths import EDM
from ..specs.teachers.checkpoint import CheckpointOptions
from . import edm_pickle
from .edm_pickle import CheckpointError as CheckpointError


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

    def __init__(self, model: nn.Module, classes: int) -> None:
        super().__init__()
        self.model, self.classes = model, classes

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor | None = None) -> Tensor:
        output: Tensor = self.model(x, c_noise, rows(condition, self.classes, x))
        return output


class PreconditionedDenoiser(Denoiser):
    """A network in the preconditioning of Song et al. 2021 or Dhariwal & Nichol 2021, as EDM asks it: D(x; sigma)."""

    def __init__(self, network: nn.Module, classes: int, path: EDM) -> None:
        super().__init__(path)
        self.network, self.classes = network, classes

    def denoise(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        x = x.to(parameter_dtype(self.network, x))
        x0: Tensor = self.network(x, t.expand(len(x)).to(x), rows(condition, self.classes, x))
        return x0


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
    path = EDM(max(options.sigma_min, network.sigma_min), min(options.sigma_max, network.sigma_max))
    if checkpoint.config["precond"] == "EDMPrecond":
        backbone = LabelledNetwork(network.model, network.label_dim)
        return EDMDenoiser(backbone, network.sigma_data, path)
    return PreconditionedDenoiser(network, network.label_dim, path)
