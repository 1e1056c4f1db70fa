"""EDM's .pkl files without running what is in them (Karras et al. 2022, torch_utils/persistence.py).

Each object is stored as a call with the source text of its class, which the official loader executes. Here that text
is dropped: of every object stay its class's name and its attributes, and whatever else a pickle may name is refused.
"""

import collections
import importlib
import io
import pickle
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

VERSION = 6
"""Of the persistence format."""
LARGEST = 2**33
"""Bytes beyond which a file is none of EDM's; the largest published is 1.2 GB."""
BROKEN = (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError)


class CheckpointError(ValueError):
    """A file is not a network in EDM's form, or not one of this data set; one line."""


class Stored:
    """An object as its attributes; `class_name` is its class's."""

    class_name: str
    _parameters: dict[str, Tensor | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, "Stored | None"]
    _init_args: tuple[Any, ...]
    _init_kwargs: dict[str, Any]


class AttributeDict(dict[str, Any]):
    """dnnlib's EasyDict."""


def _reconstruct(meta: dict[str, Any]) -> Stored:
    if meta["type"] != "class" or meta["version"] != VERSION:
        raise pickle.UnpicklingError(f"persistence version {meta['version']}, not {VERSION}")
    stored = Stored()
    stored.__dict__.update(meta["state"])
    stored.class_name = meta["class_name"]
    return stored


def _storage(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _parameter(data: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    return data


def _numpy(name: str) -> Any:
    # numpy moved it from `core` to `_core`; files name either.
    return getattr(importlib.import_module("numpy._core.multiarray"), name)


def _table() -> dict[tuple[str, str], Any]:
    containers = ("ModuleDict", "ModuleList", "Sequential")
    return {
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _reconstruct,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch.storage", "_load_from_bytes"): _storage,
        **{("torch.nn.modules.container", name): Stored for name in containers},
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("builtins", "set"): set,
        ("numpy", "dtype"): importlib.import_module("numpy").dtype,
        ("numpy.core.multiarray", "scalar"): _numpy("scalar"),
        ("numpy._core.multiarray", "scalar"): _numpy("scalar"),
        ("dnnlib.util", "EasyDict"): AttributeDict,
    }


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._allowed = _table()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which a network does not need")
        return self._allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to another file")


def read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(the configuration that `edm_network` takes, the state dict) of the averaged network `ema` in an EDM .pkl.

    CheckpointError for a file that is none, or that names anything which a network is not made of.
    """
    if file.stat().st_size > LARGEST:
        raise CheckpointError(f"{file}: more than {LARGEST >> 30} GiB, which no network here has")
    try:
        with file.open("rb") as opened:
            network = _Reader(opened).load()["ema"]
        if network._init_args:
            raise ValueError("its network was made with positional arguments")
        config = {"precond": network.class_name, "kwargs": _plain(dict(network._init_kwargs))}
        return config, dict(_tensors(network))
    except BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{file}: not a network that EDM's code wrote: {reason}") from None


def _tensors(module: Stored, prefix: str = "") -> list[tuple[str, Tensor]]:
    """The state dict's entries, in its order."""
    found = [(prefix + name, tensor) for name, tensor in module._parameters.items() if tensor is not None]
    unsaved = getattr(module, "_non_persistent_buffers_set", ())
    buffers = module._buffers.items()
    found += [(prefix + name, tensor) for name, tensor in buffers if tensor is not None and name not in unsaved]
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
