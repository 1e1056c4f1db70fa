"""Networks of others at weights that a recipe makes, and files of each family as its code writes them."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch

from fewstep.methods.teachers.forms import Checkpoint


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
    return Checkpoint(config(entry), weights(entry["state"], entry["seed"]))
