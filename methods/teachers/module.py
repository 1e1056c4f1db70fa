"""A network of one's own, as a denoiser: what the function of the suite's `target` returns. The user's code runs."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..denoiser import X0_FROM, Denoiser
from ..paths import EDM, PATHS, VPDiscrete
from ..paths import Path as GaussianPath
from ..specs.teachers.module import ModuleOptions
from . import preconditioned
from .forms import torch_file
from .forms.base import CheckpointError, tensors
from .pretrained import Pretrained

FACTS = {"path", "prediction", "shape", "classes", "null", "bound", "sigma_data", "time_of"}
NAMED: dict[str, GaussianPath] = {"edm": EDM(), "vp-discrete": VPDiscrete(), **PATHS}


def denoiser(options: ModuleOptions, data: Any) -> Denoiser:
    """The denoiser that options.target makes, with options.weights. CheckpointError says in one line what is wrong."""
    made = _called(options)
    network, facts = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(network, nn.Module) or not (isinstance(facts, Mapping) or isinstance(network, Denoiser)):
        raise CheckpointError(f"{options.target} returns a {type(made).__name__}: not a Denoiser, nor (network, facts)")
    if options.weights is not None:
        _load(network, Path(options.weights))
    if facts is None:
        assert isinstance(network, Denoiser)
        return network
    pretrained = _pretrained(network, facts, options, tuple(data.shape), data.classes)
    found = preconditioned.denoiser(pretrained, options.sigma_min, options.sigma_max)
    found.sample_bound = facts.get("bound", data.bound)
    return found


def _called(options: ModuleOptions) -> Any:
    module, _, name = options.target.partition(":")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return getattr(import_module(module), name)(**options.kwargs)
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise CheckpointError(f"{options.target} fails: {line}") from None


def _load(network: nn.Module, file: Path) -> None:
    try:
        content = load_file(file) if file.suffix == ".safetensors" else torch_file.read(file)
        network.load_state_dict(tensors(content))
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{file}: not the network's state dict: {' '.join(str(error).split())[:300]}") from None


def _pretrained(
    network: nn.Module, facts: Mapping[str, Any], options: ModuleOptions, shape: tuple[int, ...], classes: int
) -> Pretrained:
    where = options.target
    if unknown := sorted(set(facts) - FACTS):
        raise CheckpointError(f"{where} says {', '.join(unknown)}; known are {', '.join(sorted(FACTS))}")
    path, prediction = facts.get("path"), facts.get("prediction")
    path = NAMED.get(path) if isinstance(path, str) else path
    if not isinstance(path, GaussianPath):
        raise CheckpointError(f"{where}: path {facts.get('path')!r} is no Path, nor one of {', '.join(NAMED)}")
    if prediction not in {*X0_FROM, "F"} - {"both"}:
        raise CheckpointError(f"{where}: prediction {prediction!r}; one of F, x0, eps, v, velocity, score")
    if prediction == "F" and not isinstance(path, EDM):
        raise CheckpointError(f"{where}: F is what EDM's networks predict, on the path edm")
    if tuple(facts.get("shape", shape)) != shape:
        raise CheckpointError(f"{where}: its samples have shape {tuple(facts['shape'])}, the data set's {shape}")
    known = int(facts.get("classes") or 0)
    if known != (classes if options.labels else 0):
        takes = f"knows {known} classes" if known else "takes no labels"
        asked = f"labels: true, and the data set has {classes}" if options.labels else "labels: false"
        raise CheckpointError(f"{where}: its network {takes}; the suite says {asked}")
    time_of = facts.get("time_of") or _usual_time(path, prediction)
    null, sigma_data = bool(facts.get("null", False)), float(facts.get("sigma_data", 0.5))
    return Pretrained(network, path, prediction, time_of, shape, known, null, sigma_data)  # type: ignore[arg-type]


def _usual_time(path: GaussianPath, prediction: str) -> Any:
    """The label of a discrete path, ln(sigma)/4 for F, the path's t for others."""
    if prediction == "F":
        return preconditioned.c_noise
    return path.label if isinstance(path, VPDiscrete) else _itself


def _itself(t: Tensor) -> Tensor:
    return t
