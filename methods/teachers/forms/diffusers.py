"""Folders of the diffusers library with a network of pixels: UNet2DModel, alone or in a DDPM or DDIM pipeline.

Configurations are read as JSON and weights as safetensors, here and not by the library: it makes the network, and
nothing else of it is imported, nothing looked up on a hub, and no file opened that could run code.
"""

import json
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...denoiser import Condition, Denoiser, EDMDenoiser, NetworkDenoiser
from ..edm_pickle import CheckpointError
from ..pipelines.folder import configuration, line, weights
from ..pipelines.library import residual_blocks
from ..preconditioned import ConvertedDenoiser
from ..pretrained import Pretrained
from . import diffusers_schedule as schedule

FORM = "diffusers"
PIPELINES = ("DDPMPipeline", "DDIMPipeline")
NETWORK = "UNet2DModel"
WEIGHTS = "diffusion_pytorch_model.safetensors"
INSTALL = "diffusers folders need the package diffusers: pip install 'fewstep[diffusers]'"
MOST_BLOCKS = 64


class UNet2D(nn.Module):
    """eps, v or x0 of a UNet2DModel, called (x, label, condition).

    x: (B, C, H, W); label: (B,) float32, whatever the network's dtype; condition: (B,) int64 where it knows classes.
    `embedding` stands for embed(label, condition) where it is given. `config`: what `read` found.
    """

    def __init__(self, unet: Any, config: dict[str, Any]) -> None:
        super().__init__()
        self.unet, self.config = unet, config
        self.needs_label = unet.class_embedding is not None

    def embed(self, label: Tensor, condition: Condition = None) -> Tensor:
        """The network's embedding of label and class, (B, E)."""
        unet = self.unet
        embedding: Tensor = unet.time_embedding(unet.time_proj(label).to(unet.time_embedding.linear_1.weight.dtype))
        if unet.class_embedding is None or condition is None:
            return embedding
        return embedding + unet.class_embedding(condition)

    def forward(self, x: Tensor, label: Tensor, condition: Condition = None, embedding: Tensor | None = None) -> Tensor:
        if embedding is None:
            if self.unet.class_embedding is not None and condition is None:
                raise ValueError("this network knows no null label: give `condition`, a class for each sample")
            embedding = self.embed(label, condition)
        return self._torso(x, embedding)

    def _torso(self, x: Tensor, embedding: Tensor) -> Tensor:
        """What UNet2DModel.forward does once it has the embedding."""
        unet = self.unet
        h = unet.conv_in(2 * x - 1 if unet.config.center_input_sample else x)
        skips = [h]
        for block in unet.down_blocks:
            h, own = block(hidden_states=h, temb=embedding)
            skips += own
        if unet.mid_block is not None:
            h = unet.mid_block(h, embedding)
        for block in unet.up_blocks:
            count = len(block.resnets)
            h = block(h, tuple(skips[-count:]), embedding)
            del skips[-count:]
        output: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(h)))
        return output

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """Of the way down, the first in the middle, of the way up, with their attention; and the channels of each."""
        return residual_blocks(self.unet)


def recognised(folder: Path) -> bool:
    """Whether the folder looks like one of diffusers."""
    return any((folder / name).is_file() for name in ("model_index.json", "config.json"))


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(config, state dict): {"form", "kwargs": UNet2DModel's, "scheduler": its configuration}.

    The scheduler's is looked for in scheduler/ and beside the network's; without one the chain is DDPM's own, and a
    warning says so. CheckpointError says what is wrong with the folder. The package diffusers is not needed.
    """
    index = folder / "model_index.json"
    if index.is_file():
        _check_pipeline(configuration(index))
    elif not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: no folder of diffusers: neither model_index.json nor config.json in it")
    # A pipeline's oldest folders have the network's files beside model_index.json.
    network = folder / "unet" if (folder / "unet").is_dir() else folder
    kwargs = _network(configuration(network / "config.json"))
    config = {"form": FORM, "kwargs": kwargs, "scheduler": _scheduler(folder)}
    state = _state(network)
    check(config)
    return config, state


def check(config: Mapping[str, Any]) -> None:
    """CheckpointError where a configuration is none of a network of pixels on a chain. Asked before weights are."""
    kwargs, chain = config["kwargs"], config["scheduler"] or {}
    schedule.path(chain)
    schedule.prediction(chain)
    _shape(kwargs)
    for key, usual in (("time_embedding_type", "positional"), ("class_embed_type", None)):
        if kwargs.get(key, usual) != usual:
            raise CheckpointError(f"{key} {kwargs[key]!r}: only networks with {usual} are read")
    blocks = kwargs.get("block_out_channels", ())
    layers = kwargs.get("layers_per_block", 2)
    if not isinstance(layers, int) or len(blocks) > MOST_BLOCKS or not 1 <= layers <= MOST_BLOCKS:
        raise CheckpointError(f"a network of {len(blocks)} blocks of {layers} layers")
    types = [*kwargs.get("down_block_types", ()), *kwargs.get("up_block_types", ())]
    if skipping := [name for name in types if "Skip" in str(name)]:
        raise CheckpointError(f"blocks {skipping[0]!r}, of networks for variance-exploding paths, are not read")


def build(config: Mapping[str, Any], state: Mapping[str, Tensor], dropout: float = 0.0) -> Pretrained:
    """The network of `read`, with this dropout. CheckpointError where weights and configuration do not fit, or where
    the package diffusers is not there.
    """
    check(config)
    kwargs, chain = {**config["kwargs"], "dropout": dropout}, config["scheduler"] or {}
    if chain.get("rescale_betas_zero_snr"):
        warnings.warn("rescale_betas_zero_snr: the last label has no signal; the path ends one before", stacklevel=2)
    unet = _made(kwargs, _renamed(state))
    path, shape = schedule.path(chain), _shape(kwargs)
    network = UNet2D(unet, {**config, "kwargs": kwargs})
    classes = int(kwargs.get("num_class_embeds") or 0)
    return Pretrained(network, path, schedule.prediction(chain), path.label, shape, classes)


def write(denoiser: Denoiser | nn.Module, folder: Path) -> None:
    """Write the UNet2DModel of a denoiser, or of its network, as the folder of a pipeline: `read` takes it back.

    ValueError where there is none, or where the denoiser is another function of it than a diffusers pipeline's:
    a student with boundary scalings, or one that is told its target time. FileExistsError if the folder exists.
    """
    network = _network_of(denoiser)
    config, unet = network.config, network.unet
    folder.mkdir(parents=True)
    for part in ("unet", "scheduler"):
        (folder / part).mkdir()
    index = {"_class_name": PIPELINES[0], "unet": ["diffusers", NETWORK]}
    chain = {"_class_name": "DDPMScheduler", **(config["scheduler"] or {})}
    index["scheduler"] = ["diffusers", chain["_class_name"]]
    _write_json(index, folder / "model_index.json")
    _write_json(chain, folder / "scheduler" / "scheduler_config.json")
    _write_json({"_class_name": NETWORK, **config["kwargs"]}, folder / "unet" / "config.json")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in unet.state_dict().items()}
    save_file(state, folder / "unet" / WEIGHTS, {"format": "pt"})


def _network_of(denoiser: Denoiser | nn.Module) -> UNet2D:
    if isinstance(denoiser, Denoiser):
        own = denoiser.unwrapped()
        if isinstance(own, EDMDenoiser) and type(own) is not ConvertedDenoiser:
            raise ValueError(f"a {type(own).__name__} is not a network that a diffusers pipeline can sample from")
        network: Any = own.network if isinstance(own, NetworkDenoiser | EDMDenoiser) else own
    else:
        network = denoiser
    found: Any = getattr(network, "network", network)
    if not isinstance(found, UNet2D):
        raise ValueError(f"its network is a {type(found).__name__}, and not one of a diffusers folder")
    return found


def _check_pipeline(index: dict[str, Any]) -> None:
    name = index.get("_class_name")
    if name not in PIPELINES:
        raise CheckpointError(f"model_index.json: pipeline {name!r}; one of {', '.join(PIPELINES)} is read")
    parts = {key: part for key, part in index.items() if not key.startswith("_")}
    if set(parts) != {"unet", "scheduler"}:
        raise CheckpointError(
            f"model_index.json: parts {', '.join(sorted(parts)) or 'none'}; unet and scheduler make one"
        )
    if parts["unet"] != ["diffusers", NETWORK]:
        raise CheckpointError(f"model_index.json: unet {parts['unet']!r} is not diffusers' {NETWORK}")
    scheduler = parts["scheduler"]
    if not (isinstance(scheduler, list) and scheduler[:1] == ["diffusers"] and scheduler[1:]):
        raise CheckpointError(f"model_index.json: scheduler {scheduler!r} is not one of diffusers")


def _scheduler(folder: Path) -> dict[str, Any] | None:
    places = [folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        warnings.warn(
            f"{folder}: no scheduler_config.json: taken for a chain of DDPM's own betas and eps", stacklevel=3
        )
        return None
    config = configuration(file)
    if config.get("_class_name") not in schedule.SCHEDULERS:
        known = ", ".join(schedule.SCHEDULERS)
        raise CheckpointError(f"{file.name}: scheduler {config.get('_class_name')!r} is none of {known}")
    return config


def _network(config: dict[str, Any]) -> dict[str, Any]:
    if config.get("_class_name") != NETWORK:
        raise CheckpointError(f"config.json: network {config.get('_class_name')!r}; {NETWORK} is read")
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _state(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for file in weights(folder):
        try:
            state.update(load_file(file))
        except (OSError, SafetensorError, ValueError) as error:
            raise CheckpointError(f"{file}: not whole safetensors: {line(error)}") from None
    return state


OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under the names that attention has since version 0.15."""
    pattern = re.compile(r"(\.attentions\.\d+\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)")
    return {pattern.sub(lambda m: m[1] + OLD_NAMES[m[2]], name): tensor for name, tensor in state.items()}


def _made(kwargs: dict[str, Any], state: dict[str, Tensor]) -> Any:
    """The UNet2DModel with these weights; made without memory first, so that only what fits is ever allocated."""
    model = library()
    try:
        with torch.device("meta"):
            unet = model(**kwargs)
        unet.load_state_dict(state, assign=True)
    except (TypeError, ValueError, RuntimeError, KeyError, ImportError, AttributeError) as error:
        raise CheckpointError(f"not a network of diffusers: {line(error)}") from None
    return unet.train()


def library() -> Any:
    """The class UNet2DModel. CheckpointError if diffusers is not installed."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        from diffusers import UNet2DModel
    except ImportError:
        raise CheckpointError(INSTALL) from None
    return UNet2DModel


def _shape(kwargs: Mapping[str, Any]) -> tuple[int, int, int]:
    side, channels = kwargs.get("sample_size"), kwargs.get("in_channels", 3)
    height, width = side if isinstance(side, list | tuple) and len(side) == 2 else (side, side)
    found = (channels, height, width)
    if not all(isinstance(n, int) and n > 0 for n in found):
        raise CheckpointError(
            f"config.json: sample_size {side!r} and in_channels {channels!r} give no shape of samples"
        )
    if kwargs.get("out_channels", 3) not in (channels, 2 * channels):
        raise CheckpointError(f"config.json: {kwargs.get('out_channels')} channels from {channels} are no prediction")
    return cast(tuple[int, int, int], found)


def _write_json(content: Mapping[str, Any], file: Path) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
