"""Networks of others at weights that a recipe makes, and files of each family as its code writes them."""

import json
from functools import cache
from pathlib import Path

import torch

from fewstep.methods.teachers.forms import Checkpoint
from fewstep.methods.teachers.forms.shapes import SHAPES
from fewstep.methods.teachers.forms.writing import content, packed, tree
from fewstep.methods.teachers.forms.writing import drawn as weights


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
