"""Files of a folder of diffusers: configurations, names of weights, hashes. No torch."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..edm_pickle import CheckpointError

LARGEST_JSON = 2**20
"""Bytes; an index of a thousand shards is below it."""
NETWORK = "diffusion_pytorch_model"
ENCODER = "model"
"""What the files with weights are called, before .safetensors."""
CHAINS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""Schedulers of variance-preserving chains, with DDPM's betas and prediction as defaults."""
SHARD = re.compile(r"[\w-]+(\.[\w-]+)*\.safetensors")


def configuration(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file. CheckpointError if it is none, or names code of its own."""
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise ValueError(f"{file.stat().st_size:,} bytes")
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not a mapping")
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not a configuration of diffusers: {line(error)}") from None
    if "auto_map" in found:
        raise CheckpointError(f"{file}: auto_map names code of its own, which is not run")
    return found


def weights(folder: Path, name: str = NETWORK) -> list[Path]:
    """The safetensors with a part's weights: one file or its shards, those of the variant fp16 where there are no
    others. CheckpointError says what to do where there are none.
    """
    for variant in ("", ".fp16"):
        single, index = folder / f"{name}{variant}.safetensors", folder / f"{name}.safetensors.index{variant}.json"
        if single.is_file():
            return [single]
        if index.is_file():
            return _shards(index)
    pickles = any(found.suffix in (".bin", ".pt", ".pth", ".ckpt", ".msgpack") for found in folder.glob("*"))
    advice = "save it again with safe_serialization=True" if pickles else "they are the network's"
    raise CheckpointError(f"{folder}: no weights {name}.safetensors: {advice}")


def _shards(index: Path) -> list[Path]:
    shards = configuration(index).get("weight_map")
    names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
    if not names or not all(SHARD.fullmatch(name) for name in names):
        raise CheckpointError(f"{index}: each shard must be the name of a .safetensors beside it")
    for name in names:
        if not (index.parent / name).is_file():
            raise CheckpointError(f"{index.parent / name}: no such file")
    return [index.parent / name for name in names]


def digest(files: Iterable[Path], *settings: object) -> str:
    """sha256 of files, in order of their names, and of what else makes the result."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for file in sorted(files):
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        found.update(f"{file.parent.name}/{file.name} {content}\n".encode())
    return found.hexdigest()


def line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
