"""What the forms share: a file's content as tensors and configuration, and a network that takes exactly these."""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ... import published_networks, weights_file
from ...paths import VPDiscrete
from ..edm_pickle import CheckpointError as CheckpointError

Network = TypeVar("Network", bound=nn.Module)
State = dict[str, Tensor]


class Checkpoint(NamedTuple):
    """config: how the form `config["form"]`, by default "edm", makes the network; state: under its authors' names."""

    config: dict[str, Any]
    state: State

    @property
    def form(self) -> str:
        return str(self.config.get("form", "edm"))

    @property
    def classes(self) -> int:
        """How many labels the network was trained on, 0 without."""
        if self.form == "edm":
            return int(self.config["kwargs"].get("label_dim", 0))
        if self.form == "diffusers":
            return int(self.config["kwargs"].get("num_class_embeds") or 0)
        if self.form == "fewstep":
            return int(self.config["classes"])
        classes = int(self.config["network"].get("num_classes") or 0)
        # In flax's code 1 stands for none.
        return 0 if self.form == "flax-pd" and classes == 1 else classes

    def save(self, file: Path) -> None:
        """Write it as safetensors, the configuration in the header."""
        weights_file.save(self.state, file, {"config": json.dumps(self.config)})


@dataclass(frozen=True)
class Label:
    """t -> what a network on a discrete path is fed: `scale` times DDPM's label."""

    path: VPDiscrete
    scale: float = 1.0

    def __call__(self, t: Tensor) -> Tensor:
        return self.path.label(t) * self.scale


def tensors(content: Any) -> State:
    """A state dict without the prefix that nn.DataParallel adds. CheckpointError for anything else."""
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{_kind(content)}, where a dictionary of tensors was looked for")
    for name, value in content.items():
        if not isinstance(name, str):
            raise CheckpointError(f"an entry is called {name!r}, which no tensor is")
        _check(name, value)
    prefix = "module." if all(name.startswith("module.") for name in content) else ""
    return {name.removeprefix(prefix): value.detach() for name, value in content.items()}


def _kind(content: Any) -> str:
    return "nothing" if isinstance(content, Mapping) and not content else f"a {type(content).__name__}"


def _check(name: str, value: Any) -> None:
    """CheckpointError unless the value is a plain tensor that holds every one of its numbers."""
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{name} is a {type(value).__name__}, not a tensor")
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.device.type == "meta":
        raise CheckpointError(f"{name} is not a dense tensor of real numbers")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise CheckpointError(f"{name} has {value.numel():,} elements, and the file does not hold them")


def warn_unless_finite(file: Path, state: State) -> None:
    """A broken network loads, but not in silence."""
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        warnings.warn(f"{file}: {len(broken)} tensors hold NaN or infinity, such as {broken[0]}", stacklevel=3)


def tensors_digest(state: Mapping[str, Tensor]) -> str:
    """What the register of published networks knows an architecture by."""
    return published_networks.shapes_digest({name: tensor.shape for name, tensor in state.items()})


def agree(stated: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """CheckpointError unless the configuration says what the tensors show."""
    for name, value in found.items():
        if name not in stated:
            raise CheckpointError(f"its configuration does not say {name}; by its tensors it is {value}")
        if stated[name] != value:
            raise CheckpointError(f"its configuration says {name} {stated[name]!r}, and its tensors {value}")


def counted(state: State, prefix: str) -> int:
    """How many modules `prefix`0, `prefix`1, ... the names tell of."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in state if name.startswith(prefix)})


class _Undrawn(TorchFunctionMode):
    """Leaves weights as they are where layers would draw them, which takes seconds even on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def outline(make: Callable[[], Network], device: str = "meta") -> Network:
    """The network that `make` makes as its names and shapes alone: nothing is drawn, on "meta" nothing allocated."""
    with torch.device(device), _Undrawn():
        return make()


def fitted(make: Callable[[], Network], state: State, device: str = "meta") -> Network:
    """The network that `make` makes, with these tensors in float32, in training mode.

    Nothing is written to memory before each name and shape is the network's own. CheckpointError where one is not.
    device: of the outline; SongUNet's takes seconds on "meta".
    """
    network = outline(make, device)
    wanted, found = network.state_dict(), state
    if missing := [name for name in wanted if name not in found]:
        raise CheckpointError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    if unknown := [name for name in found if name not in wanted]:
        raise CheckpointError(f"{len(unknown)} tensors have no place in the network, such as {unknown[0]}")
    for name, tensor in wanted.items():
        if tensor.shape != found[name].shape:
            shapes = f"{tuple(found[name].shape)}, the network's {tuple(tensor.shape)}"
            raise CheckpointError(f"{name} has shape {shapes}")
    copies = {name: found[name].to(torch.float32, copy=True).contiguous() for name in wanted}
    network.load_state_dict(copies, assign=True)
    return network


def negate(*layers: nn.Module) -> None:
    """Turn the sign of what linear layers say: exact, and a student copies it with the weights."""
    with torch.no_grad():
        for layer in layers:
            for parameter in layer.parameters():
                parameter.neg_()
