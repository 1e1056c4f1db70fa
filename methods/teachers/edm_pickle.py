"""EDM's .pkl files without running what is in them (Karras et al. 2022, torch_utils/persistence.py).

Each object is stored as a call with the source text of its class, which the official loader executes. Here that text
is dropped: of every object stay its class's name and its attributes, and whatever else a pickle may name is refused.
"""

import collections
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import unpickling

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 6
"""Of the persistence format."""
LARGEST = 2**33
"""Bytes beyond which a file is none of EDM's; the largest published is 1.2 GB."""


class CheckpointError(ValueError):
    """A file is not a network in EDM's form, or not one of this data set; one line."""


class Stored:
    """An object as its attributes; `class_name` is its class's."""

    class_name: str
    _parameters: dict[str, "Tensor | None"]
    _buffers: dict[str, "Tensor | None"]
    _modules: dict[str, "Stored | None"]
    _init_args: tuple[Any, ...]
    _init_kwargs: dict[str, Any]


class AttributeDict(dict[str, Any]):
    """dnnlib's EasyDict."""


def _reconstruct(meta: dict[str, Any]) -> Stored:
    if meta["type"] != "class" or meta["version"] != VERSION:
        raise ValueError(f"persistence version {meta['version']}, not {VERSION}")
    stored = Stored()
    stored.__dict__.update(meta["state"])
    stored.class_name = meta["class_name"]
    return stored


def _storage(data: bytes) -> Any:
    import torch

    buffer = io.BytesIO(data)
    return torch.load(buffer, map_location="cpu", weights_only=True)


def _tensor(*arguments: Any) -> Any:
    import torch

    return torch._utils._rebuild_tensor_v2(*arguments)


def _parameter(data: Any, requires_grad: bool, hooks: Any) -> Any:
    return data


def _nothing(*arguments: Any) -> None:
    """In place of a tensor where only the settings are asked for."""


def _table(tensor: Any, storage: Any) -> unpickling.Allowed:
    containers = ("ModuleDict", "ModuleList", "Sequential")
    return {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _reconstruct,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch.storage", "_load_from_bytes"): storage,
        **{("torch.nn.modules.container", name): Stored for name in containers},
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("builtins", "set"): set,
        ("dnnlib.util", "EasyDict"): AttributeDict,
        **unpickling.arrays(),
    }


def read(file: Path) -> "tuple[dict[str, Any], dict[str, Tensor]]":
    """(the configuration that `edm_network` takes, the state dict) of the averaged network `ema` in an EDM .pkl.

    CheckpointError for a file that is none, or that names anything which a network is not made of.
    """
    config, network = _opened(file, _table(_tensor, _storage))
    return config, dict(_tensors(network))


def configuration(file: Path) -> dict[str, Any]:
    """The configuration alone, without its tensors and without torch. CheckpointError as for `read`."""
    return _opened(file, _table(_nothing, _nothing))[0]


def _opened(file: Path, table: unpickling.Allowed) -> tuple[dict[str, Any], Stored]:
    if file.stat().st_size > LARGEST:
        raise CheckpointError(f"{file}: more than {LARGEST >> 30} GiB, which no network here has")
    try:
        network = unpickling.load(file, table)["ema"]
        if network._init_args:
            raise ValueError("its network was made with positional arguments")
        config = {"precond": network.class_name, "kwargs": _plain(dict(network._init_kwargs))}
        return config, network
    except unpickling.BROKEN as error:
        raise CheckpointError(f"{file}: not a network that EDM's code wrote: {unpickling.reason(error)}") from None


def _tensors(module: Stored, prefix: str = "") -> "list[tuple[str, Tensor]]":
    """The state dict's entries, in its order."""
    found = [(prefix + name, tensor) for name, tensor in module._parameters.items() if tensor is not None]
    found += [(prefix + name, tensor) for name, tensor in module._buffers.items() if tensor is not None]
    for name, child in module._modules.items():
        if child is not None:
            found += _tensors(child, f"{prefix}{name}.")
    return found


def _plain(value: Any) -> Any:
    """As JSON has it: numbers of numpy as Python's, tuples as lists."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
