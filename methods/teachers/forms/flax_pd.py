"""The networks of progressive distillation in flax (Salimans & Ho 2022, google-research/diffusion_distillation).

They are OpenAI's U-Net with Ho's embedding of the noise, which is told as the angle of the cosine path, and flax's eps
of group norms. Kernels have their inputs before their outputs; queries, keys and values are layers of their own.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...networks.openai import OpenAIUNet
from ...paths import VPCosine, expand
from ..pretrained import Prediction, Pretrained
from .base import Checkpoint, CheckpointError, State, agree, fitted

EXAMPLE = (
    '{"form": "flax-pd", "mean_type": "x" or "eps" or "v" or "both", "network": {"image_size": 32, "ch": 256, ...}}, '
    "with the arguments of its UNet"
)
EPS = 1e-6
"""What flax's GroupNorm adds to a variance by default."""
MEANS: dict[str, Prediction] = {"x": "x0", "eps": "eps", "v": "v", "both": "x0"}
PATH = VPCosine(-20.0, 20.0)
ARGUMENTS = {
    "image_size", "in_channels", "num_classes", "ch", "emb_ch", "out_ch", "ch_mult", "num_res_blocks",
    "attn_resolutions", "num_heads", "head_dim", "dropout", "logsnr_input_type", "resblock_resample",
}  # fmt: skip
ONLY = {"logsnr_input_type": "inv_cos", "resblock_resample": True}


def pick(content: Any) -> State | None:
    """The averaged parameters, named by their path in the tree; None in another form."""
    if not isinstance(content, Mapping) or not isinstance(content.get("ema_params"), Mapping):
        return None
    return dict(_leaves(content["ema_params"], ""))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}/")
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            yield f"{prefix}{name}", torch.from_numpy(value.copy())
        else:
            raise CheckpointError(f"{prefix}{name} is a {type(value).__name__}, not an array of numbers")


class BothInOne(nn.Module):
    """x0 of a network that predicts x0 and eps in twice the channels, each trusted where it is well conditioned.

    Salimans & Ho 2022, section 4: sigma^2 x0' + alpha (x - sigma eps'), with alpha and sigma of the angle it is told.
    """

    def __init__(self, network: OpenAIUNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, time: Tensor, labels: Tensor | None = None, embedding: Tensor | None = None) -> Tensor:
        x0, eps = self.network(x, time, labels, embedding).chunk(2, dim=1)
        radians = time * (math.pi / 2000)
        alpha, sigma = expand(radians.cos(), x), expand(radians.sin(), x)
        return sigma**2 * x0 + alpha * (x - sigma * eps)

    def embed(self, time: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.network.embed(time, labels)


def angle(t: Tensor) -> Tensor:
    """1000 u, u = arctan(exp(-logsnr/2)) 2/pi in [0, 1], of the log-SNR between -20 and 20."""
    level = PATH.noise_level(t).clamp(math.exp(-10), math.exp(10))
    return 1000 * torch.atan(level) * (2 / math.pi)


def build(checkpoint: Checkpoint, dropout: float = 0.0) -> Pretrained:
    fields, state, mean = checkpoint.config["network"], checkpoint.state, checkpoint.config.get("mean_type")
    if mean not in MEANS:
        raise CheckpointError(f"its mean_type is {mean!r}; one of {', '.join(MEANS)}")
    channels, side = fields.get("in_channels", 3), fields["image_size"]
    out = channels * (2 if mean == "both" else 1)
    _check(fields, state, out)
    arguments = _arguments(fields, channels, out)
    network = fitted(lambda: OpenAIUNet(**arguments, dropout=dropout), dict(_renamed(fields, state)))
    whole = BothInOne(network) if mean == "both" else network
    return Pretrained(whole, PATH, MEANS[mean], angle, (channels, side, side), classes=checkpoint.classes)


def _check(fields: Mapping[str, Any], state: State, out: int) -> None:
    if unknown := sorted(set(fields) - ARGUMENTS):
        raise CheckpointError(f"its configuration has unknown arguments: {', '.join(unknown)}")
    for name, value in ONLY.items():
        if fields.get(name, value) != value:
            raise CheckpointError(f"its {name} is {fields[name]!r}; only {value!r} is known")
    levels = len({name.partition(".")[0] for name in state if name.startswith("down_")})
    blocks = len({name.partition("/")[0] for name in state if name.startswith("down_0.block_")})
    agree(
        {**fields, "out_ch": out, "levels": len(fields["ch_mult"])},
        {
            "ch": state["conv_in/kernel"].shape[-1],
            "out_ch": state["conv_out/kernel"].shape[-1],
            "levels": levels,
            "num_res_blocks": blocks,
        },
    )


def _arguments(fields: Mapping[str, Any], channels: int, out: int) -> dict[str, Any]:
    classes = fields.get("num_classes") or 0
    return {
        "image_size": fields["image_size"],
        "in_channels": channels,
        "model_channels": fields["ch"],
        "out_channels": out,
        "num_res_blocks": fields["num_res_blocks"],
        "attention_resolutions": [fields["image_size"] // side for side in fields["attn_resolutions"]],
        "channel_mult": fields["ch_mult"],
        "num_classes": classes if classes > 1 else None,
        "num_heads": fields.get("num_heads") or 1,
        "num_head_channels": fields.get("head_dim") or -1,
        "use_scale_shift_norm": True,
        "resblock_updown": True,
        "time_embedding": "sin-cos",
        "eps": EPS,
    }


def _renamed(fields: Mapping[str, Any], state: State) -> Iterator[tuple[str, Tensor]]:
    yield from _linear(state, "dense0", "time_embed.0")
    yield from _linear(state, "dense1", "time_embed.2")
    if "class_emb/kernel" in state:
        # A layer of one-hot rows, with a bias, is a table of rows.
        yield "label_emb.weight", state["class_emb/kernel"] + state["class_emb/bias"]
    for theirs, ours in _places(fields):
        if theirs.rpartition(".")[2].startswith("attn"):
            yield from _attention(state, theirs, ours)
        elif f"{theirs}/conv1/kernel" in state:
            yield from _block(state, theirs, ours)
        elif f"{theirs}/kernel" in state:
            yield from _conv(state, theirs, ours)
    yield from _norm(state, "norm_out", "out.0")
    yield from _conv(state, "conv_out", "out.2")


def _places(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(their name, OpenAI's) of each block and attention in the order of the forward pass."""
    levels, blocks, n = len(fields["ch_mult"]), fields["num_res_blocks"], 1
    attends = [fields["image_size"] >> level in fields["attn_resolutions"] for level in range(levels)]
    yield "conv_in", "input_blocks.0.0"
    for level in range(levels):
        for k in range(blocks):
            yield f"down_{level}.block_{k}", f"input_blocks.{n}.0"
            if attends[level]:
                yield f"down_{level}.attn_{k}", f"input_blocks.{n}.1"
            n += 1
        if level < levels - 1:
            yield f"down_{level}.downsample", f"input_blocks.{n}.0"
            n += 1
    yield from (("mid.block_1", "middle_block.0"), ("mid.attn_1", "middle_block.1"), ("mid.block_2", "middle_block.2"))
    n = 0
    for level in reversed(range(levels)):
        for k in range(blocks + 1):
            yield f"up_{level}.block_{k}", f"output_blocks.{n}.0"
            if attends[level]:
                yield f"up_{level}.attn_{k}", f"output_blocks.{n}.1"
            if level and k == blocks:
                yield f"up_{level}.upsample", f"output_blocks.{n}.{1 + attends[level]}"
            n += 1


def _linear(state: State, theirs: str, ours: str) -> Iterator[tuple[str, Tensor]]:
    yield f"{ours}.weight", state[f"{theirs}/kernel"].T
    yield f"{ours}.bias", state[f"{theirs}/bias"]


def _conv(state: State, theirs: str, ours: str) -> Iterator[tuple[str, Tensor]]:
    kernel = state[f"{theirs}/kernel"]
    # A dense layer over channels is a 1x1 convolution.
    kernel = kernel[None, None] if kernel.ndim == 2 else kernel
    yield f"{ours}.weight", kernel.permute(3, 2, 0, 1)
    yield f"{ours}.bias", state[f"{theirs}/bias"]


def _norm(state: State, theirs: str, ours: str) -> Iterator[tuple[str, Tensor]]:
    yield f"{ours}.weight", state[f"{theirs}/scale"]
    yield f"{ours}.bias", state[f"{theirs}/bias"]


def _block(state: State, theirs: str, ours: str) -> Iterator[tuple[str, Tensor]]:
    yield from _norm(state, f"{theirs}/norm1", f"{ours}.in_layers.0")
    yield from _conv(state, f"{theirs}/conv1", f"{ours}.in_layers.2")
    yield from _linear(state, f"{theirs}/temb_proj", f"{ours}.emb_layers.1")
    yield from _norm(state, f"{theirs}/norm2", f"{ours}.out_layers.0")
    yield from _conv(state, f"{theirs}/conv2", f"{ours}.out_layers.3")
    if f"{theirs}/nin_shortcut/kernel" in state:
        yield from _conv(state, f"{theirs}/nin_shortcut", f"{ours}.skip_connection")


def _attention(state: State, theirs: str, ours: str) -> Iterator[tuple[str, Tensor]]:
    """Their q, k, v: (C, heads, d); OpenAI's legacy order is (heads, 3, d)."""
    yield from _norm(state, f"{theirs}/norm", f"{ours}.norm")
    kernels = torch.stack([state[f"{theirs}/{name}/kernel"] for name in "qkv"], dim=2)
    yield f"{ours}.qkv.weight", kernels.flatten(1).T[:, :, None]
    yield f"{ours}.qkv.bias", torch.stack([state[f"{theirs}/{name}/bias"] for name in "qkv"], dim=1).flatten()
    yield f"{ours}.proj_out.weight", state[f"{theirs}/proj_out/kernel"].flatten(0, 1).T[:, :, None]
    yield f"{ours}.proj_out.bias", state[f"{theirs}/proj_out/bias"]
