"""Networks of others at weights that a recipe makes, and files of each family as its code writes them."""

import json
import zlib
from collections import OrderedDict
from functools import cache
from pathlib import Path

import numpy as np
import torch

from fewstep.methods.networks.ddpm import DDPMUNet
from fewstep.methods.networks.openai import OpenAIUNet
from fewstep.methods.teachers.forms import Checkpoint
from fewstep.methods.teachers.forms.base import outline


def weights(state, seed):
    """The recipe of tests/reference/teachers: name -> shape becomes name -> tensor."""
    return {name: torch.from_numpy(_drawn(name, shape, seed)) for name, shape in state.items()}


def _drawn(name, shape, seed):
    z = np.random.RandomState(zlib.crc32(f"{seed}/{name}".encode())).standard_normal(shape)
    z = z / np.sqrt(np.prod(shape[1:])) if len(shape) >= 2 else 1 + 0.1 * z if name.endswith("weight") else 0.1 * z
    return z.astype(np.float32)


def config(entry):
    """What a user would write beside the file of such a network."""
    network, family = dict(entry["config"]), entry["family"]
    if family == "score_sde":
        return {
            "form": "score-sde",
            "sde": {"ddpmpp": "vp"}.get(entry["network"], "ve"),
            "network": {"name": "ncsnpp", **network},
        }
    if family == "ho":
        del network["resamp_with_conv"]
        return {"form": "ddpm", "schedule": "linear", "labels": 1000, "network": network}
    if family == "cm":
        # Whatever the class is called: tests/reference/README.md.
        network |= {"use_new_attention_order": True, "attention_dims": 2}
        return {"form": "openai", "schedule": "edm", "network": network}
    return {"form": "openai", "schedule": "linear", "labels": 1000, "network": network}


def entries(folder: Path):
    """name -> description of each reference network in the folder."""
    found = {file.stem: json.loads(file.read_text()) for file in sorted((folder / "teachers").glob("*.json"))}
    return {name: entry for name, entry in found.items() if "family" in entry}


def checkpoint(entry):
    return Checkpoint(config(entry), dict(_reference_state(json.dumps(entry["state"]), entry["seed"])))


@cache
def _reference_state(shapes, seed):
    return weights(json.loads(shapes), seed)


OPENAI = {
    "image_size": 8, "in_channels": 3, "model_channels": 32, "out_channels": 6, "num_res_blocks": 1,
    "attention_resolutions": [2], "channel_mult": [1, 2], "num_heads": 2, "use_scale_shift_norm": True,
}  # fmt: skip
SONG = {"name": "ncsnpp", "image_size": 8, "nf": 16, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [4]}
PD = {
    "image_size": 8, "num_classes": 1, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [4],
    "num_heads": 2,
}  # fmt: skip
NETWORKS = {
    "guided": {
        "form": "openai", "schedule": "cosine", "labels": 1000,
        "network": {**OPENAI, "num_classes": 4, "resblock_updown": True, "use_new_attention_order": True},
    },
    "improved": {"form": "openai", "schedule": "cosine", "labels": 4000, "label_scale": 0.25, "network": OPENAI},
    "cm": {
        "form": "openai", "schedule": "edm",
        "network": {
            **OPENAI, "out_channels": 3, "num_classes": 4, "resblock_updown": True, "use_new_attention_order": True,
            "attention_dims": 2,
        },
    },
    "torchcfm": {"form": "torchcfm", "network": {**OPENAI, "out_channels": 3, "use_scale_shift_norm": False}},
    "ddpm": {
        "form": "ddpm", "schedule": "linear", "labels": 1000,
        "network": {"image_size": 8, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [4]},
    },
    "ddpmpp": {"form": "score-sde", "sde": "vp", "network": SONG},
    "ncsnpp": {
        "form": "score-sde", "sde": "ve",
        "network": {**SONG, "fir": True, "embedding_type": "fourier", "progressive_input": "residual"},
    },
    "song-ddpm": {
        "form": "score-sde", "sde": "vp", "continuous": False, "network": {**SONG, "name": "ddpm", "nf": 32},
    },
    "pd": {"form": "flax-pd", "mean_type": "x", "network": {**PD, "out_ch": 3}},
    "pd-both": {
        "form": "flax-pd", "mean_type": "both",
        "network": {**PD, "out_ch": 6, "num_classes": 4, "num_heads": None, "head_dim": 32},
    },
}  # fmt: skip
"""name -> the configuration of a tiny network of each family."""


def tiny(name):
    """The network's checkpoint, its tensors under their authors' names, every one drawn."""
    return Checkpoint(NETWORKS[name], dict(_state(name)))


@cache
def _state(name):
    settings = NETWORKS[name]
    return weights(SHAPES[settings["form"]](settings["network"]), 0)


def _shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _openai(fields):
    return _shapes(outline(lambda: OpenAIUNet(**fields)))


def _ddpm(fields):
    return _shapes(outline(lambda: DDPMUNet(**fields)))


class Modules(dict):
    """`all_modules` of score_sde as it is made: each next one gets the next number."""

    count = 0

    def add(self, **shapes):
        self.update({f"all_modules.{self.count}.{name.replace('__', '.')}": shape for name, shape in shapes.items()})
        self.count += 1

    def linear(self, *shape):
        self.add(weight=shape, bias=shape[:1])

    def block(self, width, out, emb, resample=False, skip="Conv_2", kernel=(1, 1)):
        shapes = {"GroupNorm_0": (width,), "Conv_0": (out, width, 3, 3), "Dense_0": (out, emb), "GroupNorm_1": (out,)}
        shapes["Conv_1"] = (out, out, 3, 3)
        facts = {f"{name}__weight": shape for name, shape in shapes.items()}
        facts |= {f"{name}__bias": (shape[0],) for name, shape in shapes.items()}
        if width != out or resample:
            nin = skip.startswith("NIN")
            facts[f"{skip}__{'W' if nin else 'weight'}"] = (width, out) if nin else (out, width, *kernel)
            facts[f"{skip}__{'b' if nin else 'bias'}"] = (out,)
        self.add(**facts)

    def attention(self, width):
        facts = {"GroupNorm_0__weight": (width,), "GroupNorm_0__bias": (width,)}
        for j in range(4):
            facts |= {f"NIN_{j}__W": (width, width), f"NIN_{j}__b": (width,)}
        self.add(**facts)


def _song(fields):
    """Names and shapes of NCSN++, DDPM++ and score_sde's own DDPM, written from the order of their constructors."""
    nf, emb, modules = fields["nf"], 4 * fields["nf"], Modules()
    own, fourier = fields["name"] == "ddpm", fields.get("embedding_type") == "fourier"
    blocks, widths = fields["num_res_blocks"], [nf * mult for mult in fields["ch_mult"]]
    attends = [fields["image_size"] >> level in fields["attn_resolutions"] for level in range(len(widths))]
    skip = {"skip": "NIN_0"} if own else {}

    def resample(width):
        if own:
            modules.add(Conv_0__weight=(width, width, 3, 3), Conv_0__bias=(width,))
        else:
            modules.block(width, width, emb, resample=True)

    if fourier:
        modules.add(W=(nf,))
    modules.linear(emb, nf * (2 if fourier else 1))
    modules.linear(emb, emb)
    modules.linear(nf, 3, 3, 3)
    skips, pyramid = [nf], 3
    for level, width in enumerate(widths):
        for _ in range(blocks):
            modules.block(skips[-1], width, emb, **skip)
            if attends[level]:
                modules.attention(width)
            skips.append(width)
        if level < len(widths) - 1:
            resample(width)
            if fourier:
                modules.add(Conv2d_0__weight=(width, pyramid, 3, 3), Conv2d_0__bias=(width,))
                pyramid = width
            skips.append(width)
    h = widths[-1]
    modules.block(h, h, emb)
    modules.attention(h)
    modules.block(h, h, emb)
    for level, width in reversed(list(enumerate(widths))):
        for _ in range(blocks + 1):
            modules.block(h + skips.pop(), width, emb, **skip)
            h = width
        if attends[level]:
            modules.attention(width)
        if level:
            resample(width)
    modules.linear(h)
    modules.linear(3, h, 3, 3)
    return modules


class Leaves(dict):
    """flax's parameters, by their path in the tree."""

    def layer(self, name, kernel, bias=None):
        self[f"{name}/kernel"], self[f"{name}/bias"] = kernel, bias or kernel[-1:]

    def norm(self, name, width):
        self[f"{name}/scale"] = self[f"{name}/bias"] = (width,)

    def block(self, name, width, out, emb):
        self.norm(f"{name}/norm1", width)
        self.layer(f"{name}/conv1", (3, 3, width, out))
        self.layer(f"{name}/temb_proj", (emb, 2 * out))
        self.norm(f"{name}/norm2", out)
        self.layer(f"{name}/conv2", (3, 3, out, out))
        if width != out:
            self.layer(f"{name}/nin_shortcut", (width, out))

    def attention(self, name, width, heads):
        d = width // heads
        self.norm(f"{name}/norm", width)
        for part in "qkv":
            self.layer(f"{name}/{part}", (width, heads, d), (heads, d))
        self.layer(f"{name}/proj_out", (heads, d, width))


def _flax(fields):
    """Names and shapes of PD's UNet, written from its forward pass."""
    ch, emb, leaves = fields["ch"], 4 * fields["ch"], Leaves()
    widths, blocks = [ch * mult for mult in fields["ch_mult"]], fields["num_res_blocks"]
    attends = [fields["image_size"] >> level in fields["attn_resolutions"] for level in range(len(widths))]

    def attention(name, width):
        leaves.attention(name, width, fields.get("num_heads") or width // fields["head_dim"])

    leaves.layer("dense0", (ch, emb))
    leaves.layer("dense1", (emb, emb))
    if fields["num_classes"] > 1:
        leaves.layer("class_emb", (fields["num_classes"], emb))
    leaves.layer("conv_in", (3, 3, 3, ch))
    skips = [ch]
    for level, width in enumerate(widths):
        for k in range(blocks):
            leaves.block(f"down_{level}.block_{k}", skips[-1], width, emb)
            if attends[level]:
                attention(f"down_{level}.attn_{k}", width)
            skips.append(width)
        if level < len(widths) - 1:
            leaves.block(f"down_{level}.downsample", width, width, emb)
            skips.append(width)
    h = widths[-1]
    leaves.block("mid.block_1", h, h, emb)
    attention("mid.attn_1", h)
    leaves.block("mid.block_2", h, h, emb)
    for level, width in reversed(list(enumerate(widths))):
        for k in range(blocks + 1):
            leaves.block(f"up_{level}.block_{k}", h + skips.pop(), width, emb)
            if attends[level]:
                attention(f"up_{level}.attn_{k}", width)
            h = width
        if level:
            leaves.block(f"up_{level}.upsample", width, width, emb)
    leaves.norm("norm_out", h)
    leaves.layer("conv_out", (3, 3, h, fields["out_ch"]))
    return leaves


SHAPES = {"openai": _openai, "torchcfm": _openai, "ddpm": _ddpm, "score-sde": _song, "flax-pd": _flax}


def write(name, folder: Path, **options):
    """The tiny network's file as its authors' code writes it, and its configuration beside it; returns the file."""
    made = tiny(name)
    form = made.form
    file = folder / f"{name}{'.msgpack' if form == 'flax-pd' else '.pt'}"
    file.with_suffix(".json").write_text(json.dumps(made.config))
    if form == "flax-pd":
        file.write_bytes(packed({"ema_params": tree(made.state), "step": 7, "optimizer": {"state": None}}))
    else:
        torch.save(content(made), file, **options)
    return file


def content(made):
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


def prefixed(state):
    return OrderedDict((f"module.{name}", tensor) for name, tensor in state.items())


def tree(state):
    """Names with slashes as nested dictionaries of NumPy's arrays."""
    found = {}
    for name, tensor in state.items():
        *folders, leaf = name.split("/")
        here = found
        for folder in folders:
            here = here.setdefault(folder, {})
        here[leaf] = tensor.numpy()
    return found


def packed(value):
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


def array(shape, dtype, data):
    sides = b"".join(packed(side) for side in shape)
    return b"\x93" + bytes([0x90 + len(shape)]) + sides + packed(dtype) + b"\xc6" + len(data).to_bytes(4, "big") + data


def extension(code, data):
    return b"\xc9" + len(data).to_bytes(4, "big") + bytes([code]) + data
