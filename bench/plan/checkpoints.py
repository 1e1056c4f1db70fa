"""The networks of others that teachers are read from: which file a suite means, whether it is here, and what its
header says. No torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...methods.missing import Missing
from ...methods.options import Options
from ...methods.saved_header import method_facts
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from .. import published_files
from ..errors import InputError


def meant(name: str) -> str | None:
    """The registered name or the path of the network that `name` means; None if there is neither."""
    return published_files.meant(name, published_files.CHECKPOINTS)


def located(teacher: CheckpointOptions) -> Path | None:
    """Where the teacher's file lies, None if it is not here."""
    file = meant(teacher.file)
    return published_files.located(file) if file else None


def missing_checkpoint(teacher: Options) -> Missing | None:
    """What is wrong with the teacher's file; None if nothing, or for a teacher without one."""
    if not isinstance(teacher, CheckpointOptions):
        return None
    file = meant(teacher.file)
    if file is None:
        return Missing(teacher.file, "fewstep doctor")
    return published_files.missing(file) if file in published_files.REGISTER else None


def checkpoint(teacher: Options, shape: Sequence[int] = (), student: bool = False) -> dict[str, str]:
    """What a teacher's task knows of its file, wherever it lies: its hash. Empty for a teacher without one.

    student: a network that a row brings with it. InputError for a file that holds no network of samples of that shape.
    """
    path = located(teacher) if isinstance(teacher, CheckpointOptions) else None
    if path is None:
        return {}
    if (reason := fault(path, shape, student)) is not None:
        raise InputError(f"{path}: {reason}")
    return {"sha256": published_files.sha256(path)}


def fault(path: Path, shape: Sequence[int] = (), student: bool = False) -> str | None:
    """Why the file cannot be a teacher of samples of that shape, or a student's network, as far as its first bytes say;
    None if they do not.
    """
    if path.is_dir():
        return _folder_fault(path, shape)
    if path.suffix == ".pkl":
        return None if _is_pickle(path) else "not a whole pickle, which EDM's .pkl is"
    if path.suffix != ".safetensors":
        return None if _is_archive(path) else "neither torch.save nor flax wrote it"
    if (facts := method_facts(path)) and not student:
        return f"a {facts.get('method')} of fewstep and no denoiser: it is a row, {{name: student, file: ...}}"
    try:
        config = json.loads(facts["network"]) if facts else _configuration(path)
    except FileNotFoundError:
        beside = path.with_suffix(".json").name
        return f"no configuration in its header, nor a file {beside} beside it: {FORM}"
    except (OSError, ValueError, KeyError) as error:
        return f"not a network in EDM's form: {error}"
    own = _stated_shape(config)
    return (
        None
        if not shape or own in (None, tuple(shape))
        else f"its images have shape {own}, the data set's {tuple(shape)}"
    )


def _stated_shape(config: dict[str, Any]) -> tuple[Any, ...] | None:
    """Of one sample, as far as a configuration says it under the names of EDM's code or of fewstep."""
    if "shape" in config:
        return tuple(config["shape"])
    kwargs = config.get("kwargs", {})
    side = kwargs.get("img_resolution")
    return None if side is None else (kwargs.get("img_channels"), side, side)


def _folder_fault(folder: Path, shape: Sequence[int]) -> str | None:
    """The same of a folder of diffusers."""
    if not (folder / "model_index.json").is_file() and not (folder / "config.json").is_file():
        return "no folder of diffusers: neither model_index.json nor config.json in it"
    unet = folder / "unet" if (folder / "unet").is_dir() else folder
    try:
        config = json.loads((unet / "config.json").read_text(encoding="utf-8"))
        side, channels = config.get("sample_size"), config.get("in_channels", 3)
    except (OSError, ValueError, AttributeError) as error:
        return f"its config.json cannot be read: {error}"
    own = (channels, *(side if isinstance(side, list) else (side, side)))
    return None if not shape or own == tuple(shape) else f"its images have shape {own}, the data set's {tuple(shape)}"


FORM = '{"precond": "EDMPrecond", "kwargs": {...}}, what NVlabs/edm makes the network with'


def _is_archive(path: Path) -> bool:
    """Whether a file begins as what torch writes, a zip or a pickle, or as a map of msgpack."""
    with path.open("rb") as stream:
        first = stream.read(1)
    return first == b"P" or first in (b"\xde", b"\xdf") or b"\x80" <= first <= b"\x8f"


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        first = stream.read(1)
        stream.seek(-1 if first else 0, 2)
        return first == b"\x80" and stream.read(1) == b"."


def _configuration(path: Path) -> dict[str, Any]:
    """Of a .safetensors, in its header or in the .json beside it. ValueError for another file."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("no header of safetensors, or cut short")
        header = json.loads(stream.read(length))
    size = 8 + length + max((entry["data_offsets"][1] for key, entry in header.items() if key != METADATA), default=0)
    if size != path.stat().st_size:
        raise ValueError(f"{path.stat().st_size:,} bytes, and its header says {size:,}")
    stated = (header.get(METADATA) or {}).get("config")
    beside = path.with_suffix(".json")
    config: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8") if stated is None else stated)
    form = config.get("form", "edm") if isinstance(config, dict) else ""
    part = "kwargs" if form in ("edm", "diffusers") else "network"
    if (
        not isinstance(config, dict)
        or not isinstance(config.get(part), dict)
        or (form == "edm" and "precond" not in config)
    ):
        raise ValueError("its configuration has no precond or no kwargs")
    return config


METADATA = "__metadata__"
