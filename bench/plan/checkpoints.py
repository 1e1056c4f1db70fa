"""The networks of others that teachers are read from: which file a suite means, whether it is here, and what its
header says. No torch.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...methods.missing import Missing
from ...methods.options import Options
from ...methods.specs.teachers.checkpoint import CheckpointOptions, ClassifierOptions
from .. import published_files
from ..errors import InputError


def meant(name: str) -> str | None:
    """The registered name or the path of the network that `name` means; None if there is neither."""
    return published_files.meant(name, published_files.CHECKPOINTS)


def located(teacher: CheckpointOptions) -> Path | None:
    """Where the teacher's file lies, None if it is not here."""
    return _located(teacher.file)


def located_classifier(teacher: Options) -> Path | None:
    """Where the file of the classifier that guides the teacher lies, None if it is not here or there is no such."""
    classifier = getattr(teacher, "classifier", None)
    return _located(classifier.file) if isinstance(classifier, ClassifierOptions) else None


def _located(name: str) -> Path | None:
    file = meant(name)
    return published_files.located(file) if file else None


def missing_checkpoint(teacher: Options) -> Missing | None:
    """What is wrong with the teacher's file, or its classifier's; None if nothing, or for a teacher without one."""
    if not isinstance(teacher, CheckpointOptions):
        return None
    missing = _missing(teacher.file)
    return _missing(teacher.classifier.file) if missing is None and teacher.classifier is not None else missing


def _missing(name: str) -> Missing | None:
    file = meant(name)
    if file is None:
        return Missing(name, "fewstep doctor")
    return published_files.missing(file) if file in published_files.REGISTER else None


def checkpoint(teacher: Options, shape: Sequence[int] = ()) -> dict[str, str]:
    """What a teacher's task knows of its files, wherever they lie: their hashes. Empty for a teacher without any.

    InputError for a file that holds no network of samples of that shape.
    """
    path = located(teacher) if isinstance(teacher, CheckpointOptions) else None
    if path is None:
        return {}
    if (reason := fault(path, shape)) is not None:
        raise InputError(f"{path}: {reason}")
    guide = located_classifier(teacher)
    return {"sha256": published_files.sha256(path), **({"classifier": published_files.sha256(guide)} if guide else {})}


def fault(path: Path, shape: Sequence[int] = ()) -> str | None:
    """Why the file cannot be a teacher of samples of that shape, as far as its first bytes say; None if they do not."""
    try:
        config = None if path.suffix == ".pkl" else _configuration(path)
        if path.suffix == ".pkl" and not _is_pickle(path):
            return "not a whole pickle, which EDM's .pkl is"
    except FileNotFoundError:
        beside = path.with_suffix(".json").name
        return f"no configuration in its header, nor a file {beside} beside it: {FORM}"
    except (OSError, ValueError) as error:
        return f"not a network in EDM's form: {error}"
    if config is None or not shape:
        return None
    kwargs = config["kwargs"]
    side = kwargs.get("img_resolution")
    own = (kwargs.get("img_channels"), side, side)
    return None if own == tuple(shape) else f"its images have shape {own}, the data set's {tuple(shape)}"


FORM = '{"precond": "EDMPrecond", "kwargs": {...}}, what NVlabs/edm makes the network with'


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
    if not (isinstance(config, dict) and isinstance(config.get("kwargs"), dict) and "precond" in config):
        raise ValueError("its configuration has no precond or no kwargs")
    return config


METADATA = "__metadata__"
