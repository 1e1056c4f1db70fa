"""Files of each form as its authors' code writes them, at random weights: networks that stand in for published ones."""

import json
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from pickle import dumps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...networks import edm_network
from . import shapes
from .base import Checkpoint, State


def write(file: Path, config: Mapping[str, Any], seed: int) -> None:
    """The network that `config` makes, at weights of that seed, and beside it the configuration that files leave out.

    file: the name says how it is written, .pkl as EDM's code does, .msgpack as flax, any other by torch.save.
    """
    if config.get("form", "edm") == "edm":
        file.write_bytes(edm_pickle(config, drawn_network(config, seed)))
        return
    checkpoint = Checkpoint(dict(config), drawn(shapes_of(config), seed))
    file.with_suffix(".json").write_text(json.dumps(checkpoint.config), encoding="utf-8")
    if checkpoint.form == "flax-pd":
        file.write_bytes(packed({"ema_params": tree(checkpoint.state), "step": 7, "optimizer": {"state": None}}))
    else:
        torch.save(content(checkpoint), file)


def shapes_of(config: Mapping[str, Any]) -> shapes.Shapes:
    """The tensors in a file of this form, under their authors' names."""
    named = shapes.classifier if config.get("kind") == "classifier" else shapes.SHAPES[config["form"]]
    return named(config["network"])


def drawn(named: shapes.Shapes, seed: int) -> State:
    """Normal weights that keep the variance of what they are given, gains of about 1, biases of about 0."""
    return {name: torch.from_numpy(_drawn(name, shape, seed)) for name, shape in named.items()}


def _drawn(name: str, shape: tuple[int, ...], seed: int) -> Any:
    z = np.random.RandomState(zlib.crc32(f"{seed}/{name}".encode())).standard_normal(shape)
    z = z / np.sqrt(np.prod(shape[1:])) if len(shape) >= 2 else 1 + 0.1 * z if name.endswith("weight") else 0.1 * z
    return z.astype(np.float32)


def drawn_network(config: Mapping[str, Any], seed: int) -> nn.Module:
    """EDM's network with every parameter drawn; what it computes of its arguments stays."""
    network = edm_network(dict(config))
    parameters = dict(network.named_parameters())
    values = drawn({name: tuple(parameter.shape) for name, parameter in parameters.items()}, seed)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])
    return network


class _Call:
    """Pickled as a call of the function with the argument."""

    def __init__(self, argument: Any) -> None:
        self.argument = argument

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, (self.argument,)


def _reconstruct_persistent_obj(meta: Any) -> None:
    """Only its name is needed, which EDM's torch_utils.persistence has too."""
    raise NotImplementedError


def edm_pickle(config: Mapping[str, Any], network: nn.Module) -> bytes:
    """The network as EDM's training writes its snapshots: each module a call, here without its class's source text."""
    name = _reconstruct_persistent_obj.__name__
    facts = {"class_name": config["precond"], "kwargs": dict(config["kwargs"])}
    data: dict[str, Any] = {
        "ema": _persistent(network, facts),
        "loss_fn": None,
        "augment_pipe": None,
        "dataset_kwargs": {},
    }
    # In protocol 2 a function is named by two lines of text.
    ours, theirs = (f"c{module}\n{name}\n".encode() for module in (__name__, "torch_utils.persistence"))
    return dumps(data, protocol=2).replace(ours, theirs)


def _persistent(module: nn.Module, facts: Mapping[str, Any]) -> _Call:
    children = {
        name: _persistent(child, {"class_name": type(child).__name__, "kwargs": {}})
        for name, child in module.named_children()
    }
    state = {
        "_parameters": {name: value.detach() for name, value in module.named_parameters(recurse=False)},
        "_buffers": dict(module.named_buffers(recurse=False)),
        "_modules": children,
        "training": False,
        "_init_args": (),
        "_init_kwargs": facts["kwargs"],
    }
    return _Call({"type": "class", "version": 6, "module_src": "", "class_name": facts["class_name"], "state": state})


def content(made: Checkpoint) -> Any:
    """What the authors' code hands to torch.save."""
    state = OrderedDict(made.state)
    other = OrderedDict((name, tensor + 1) for name, tensor in state.items())
    if made.form == "torchcfm":
        return {"net_model": other, "ema_model": state, "sched": {"last_epoch": 3}, "optim": {}, "step": 5}
    if made.form == "ddpm":
        return [prefixed(other), {"state": {}, "param_groups": [{"lr": 2e-4}]}, 3, 400, state]
    if made.form == "score-sde":
        trained = {name: tensor for name, tensor in state.items() if name != "all_modules.0.W"}
        frozen = {name: tensor for name, tensor in state.items() if name not in trained}
        model = {name: frozen.get(name, tensor) for name, tensor in other.items()}
        average = {"decay": 0.9999, "num_updates": 9, "shadow_params": list(trained.values())}
        return {"optimizer": {}, "model": prefixed({"sigmas": torch.ones(9), **model}), "ema": average, "step": 9}
    return state


def prefixed(state: Mapping[str, Tensor]) -> State:
    return OrderedDict((f"module.{name}", tensor) for name, tensor in state.items())


def tree(state: State) -> dict[str, Any]:
    """Names with slashes as nested dictionaries of NumPy's arrays."""
    found: dict[str, Any] = {}
    for name, tensor in state.items():
        *folders, leaf = name.split("/")
        here = found
        for folder in folders:
            here = here.setdefault(folder, {})
        here[leaf] = tensor.numpy()
    return found


def packed(value: Any) -> bytes:
    """flax.serialization.to_bytes, for what it is given here."""
    if isinstance(value, dict):
        items = b"".join(packed(key) + packed(item) for key, item in value.items())
        return b"\xdf" + len(value).to_bytes(4, "big") + items
    if isinstance(value, str):
        return b"\xd9" + bytes([len(value)]) + value.encode()
    if isinstance(value, np.ndarray):
        return extension(1, array(value.shape, value.dtype.name, value.tobytes()))
    if value is None:
        return b"\xc0"
    return b"\xd3" + int(value).to_bytes(8, "big", signed=True)


def array(shape: tuple[int, ...], dtype: str, data: bytes) -> bytes:
    sides = b"".join(packed(side) for side in shape)
    return b"\x93" + bytes([0x90 + len(shape)]) + sides + packed(dtype) + b"\xc6" + len(data).to_bytes(4, "big") + data


def extension(code: int, data: bytes) -> bytes:
    return b"\xc9" + len(data).to_bytes(4, "big") + bytes([code]) + data
