"""What a published network's file says of itself before its tensors are read: its kind, and where it says so its shape
and classes. No torch.
"""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ...methods.published_networks import PublishedNetwork, shapes_digest, with_tensors
from ...methods.saved_header import method_facts
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...methods.teachers import edm_pickle
from ...methods.teachers.pipelines import facts as pipelines
from . import outlines

METADATA, METADATA_CONFIG = "__metadata__", "config"
"""Where a .safetensors has facts beside its tensors, and which of them a network's settings are."""
FOLDER = ("model_index.json", "config.json")
"""What a folder of diffusers has, one or the other."""
MSGPACK = (*range(0x81, 0x90), 0xDE, 0xDF)
"""The first byte of a map."""

KEYS: Mapping[Any, tuple[str, tuple[str, ...], str]] = {
    "edm": ("img_resolution", ("img_channels",), "label_dim"),
    "diffusers": ("sample_size", ("in_channels",), "num_class_embeds"),
}
"""Form -> what its networks' side, channels and classes are called there; others are OpenAI's words."""

Shape = tuple[Any, ...]


class Told(NamedTuple):
    """(C, H, W) of a network's samples, the labels it knows, its form and what it is for; None where nothing tells."""

    shape: Shape | None = None
    classes: int | None = None
    form: str | None = None
    kind: str | None = None


NOTHING = Told()


def fault(
    path: Path,
    shape: Sequence[int] = (),
    teacher: CheckpointOptions | None = None,
    student: bool = False,
    classes: int | None = None,
) -> str | None:
    """Why the file or folder cannot be a teacher of samples of that shape and those classes, or a student's network, as
    far as its first bytes say; None if they do not.
    """
    if (facts := method_facts(path)) and not student:
        return f"a {facts.get('method')} of fewstep and no denoiser: it is a row, {{name: student, file: ...}}"
    config = None if teacher is None else teacher.config
    try:
        own = told(path, config)
    except FileNotFoundError as error:
        return str(error)
    except Exception as error:
        # A broken file or configuration asks for anything.
        return f"not a network in EDM's form, or another: {' '.join(str(error).split())[:300] or type(error).__name__}"
    return _unlike(own, shape, student, classes)


def _unlike(own: Told, shape: Sequence[int], student: bool, classes: int | None) -> str | None:
    if own.kind == "classifier":
        return "a classifier of noisy images and no denoiser: it guides one, as its `classifier`"
    if own.kind == "consistency" and not student:
        return "a few-step student and no denoiser: it is a row, {name: student, file: ...}"
    if own.shape is not None and shape and own.shape != tuple(shape):
        return f"its images have shape {own.shape}, the data set's {tuple(shape)}"
    if own.classes and classes is not None and own.classes != classes:
        return f"it was trained on {own.classes} classes, and the data set has {classes or 'no labels'}"
    return None


def classifier_fault(
    path: Path, shape: Sequence[int], classes: int, config: Mapping[str, Any] | str | None = None
) -> str | None:
    """The same of the classifier that is to guide networks of such samples. `config`: its settings, or their file."""
    try:
        own = told(path, config)
    except Exception as error:
        return f"no classifier of noisy images: {' '.join(str(error).split())[:300] or type(error).__name__}"
    if own.form is not None and own.kind != "classifier":
        return "no classifier of noisy images"
    if own.shape is not None and own.shape != tuple(shape):
        return f"it classifies images of shape {own.shape}, and the data set's have {tuple(shape)}"
    if own.classes is not None and own.classes != classes:
        return f"it knows {own.classes} classes, and the data set has {classes}"
    return None


def told(path: Path, given: Mapping[str, Any] | str | None = None) -> Told:
    """What the first bytes tell. `given`: the network's settings, or their file.

    FileNotFoundError for a .safetensors without settings, ValueError for a file of no known kind.
    """
    if given is not None and (path.is_dir() or path.suffix == ".pkl"):
        raise ValueError("its settings are in it, and `config` is for files that leave them out")
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".pkl":
        if not _is_pickle(path):
            raise ValueError("not a whole pickle, which EDM's .pkl is")
        stat = path.stat()
        return _of(_pickled(path, stat.st_size, stat.st_mtime_ns), required=True)
    if facts := method_facts(path):
        _check_whole(path)
        return Told(tuple(json.loads(facts["network"])["shape"]))
    if path.suffix == ".safetensors":
        return _of(_safetensors(path, given), required=True)
    _check_kind(path)
    settings = _settings(path, given)
    if settings is not None:
        return _of(settings, required=False)
    return _published(outlines.network_in(path))


@lru_cache(maxsize=64)
def _pickled(path: Path, size: int, changed: int) -> dict[str, Any]:
    """The settings in an EDM .pkl, read once for as long as the file stays."""
    try:
        return edm_pickle.configuration(path)
    except edm_pickle.CheckpointError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from None


def _published(network: PublishedNetwork) -> Told:
    return Told(network.shape, network.classes, network.form, network.kind)


def beside(path: Path, given: Mapping[str, Any] | str | None = None) -> Path | None:
    """The JSON file that a network's settings are read from, None where they are in the file, in the suite or known."""
    if isinstance(given, str):
        return Path(given)
    file = path.with_suffix(".json")
    if given is not None or path.is_dir() or path.suffix == ".pkl" or not os.path.isfile(file):
        return None
    return None if path.suffix == ".safetensors" and METADATA_CONFIG in (_header(path)[1].get(METADATA) or {}) else file


def from_register(path: Path, given: Mapping[str, Any] | str | None = None) -> PublishedNetwork | None:
    """The published network whose settings a file takes that has none in it, beside it or in the suite; else None."""
    if given is not None or path.is_dir() or path.suffix == ".pkl" or beside(path) is not None or method_facts(path):
        return None
    if path.suffix != ".safetensors":
        return outlines.network_in(path)
    header = _header(path)[1]
    return None if METADATA_CONFIG in (header.get(METADATA) or {}) else _known(header, path)


def _settings(path: Path, given: Mapping[str, Any] | str | None) -> Any:
    if isinstance(given, Mapping):
        return given
    file = beside(path, given)
    if file is not None and not os.path.isfile(file):
        raise FileNotFoundError(f"no file {file}, which `config` names")
    return None if file is None else json.loads(file.read_text(encoding="utf-8"))


def _of(config: Any, required: bool) -> Told:
    """What a configuration tells. ValueError for one of no form."""
    if not isinstance(config, Mapping):
        raise ValueError(f"its configuration is a {type(config).__name__}")
    own = None if "network" in config else "edm"
    form = config.get("form", own if required else None)
    part = config.get("kwargs" if form in ("edm", "diffusers") else "network")
    if not isinstance(part, Mapping) or (form == "edm" and "precond" not in config):
        raise ValueError("its configuration has no precond or no kwargs, nor another form's `form` and `network`")
    if form == "fewstep":
        return Told(tuple(config["shape"]), int(config["classes"]), form)
    return _in(part, form, config.get("kind"))


def _in(part: Mapping[str, Any], form: Any, kind: Any) -> Told:
    """What the arguments of a network of that form tell."""
    sides, channels, classes = KEYS.get(form, ("image_size", ("in_channels", "num_channels"), "num_classes"))
    side = part.get(sides)
    width = next((part[key] for key in channels if key in part), None if form == "edm" else 3)
    known = int(part.get("out_channels" if kind == "classifier" else classes) or 0)
    # The networks of progressive distillation have one class where they have no labels.
    known = 0 if form == "flax-pd" and known == 1 else known
    pair = side if isinstance(side, list) and len(side) == 2 else (side, side)
    shape = None if side is None and form != "edm" else (width, *pair)
    return Told(shape, known, form, kind)


def _folder(path: Path) -> Told:
    if pipelines.recognised(path):
        raise ValueError("a text-to-image pipeline is a teacher of its own kind: {name: pipeline, folder: ...}")
    if not any((path / name).is_file() for name in FOLDER):
        raise ValueError(f"a folder without {' or '.join(FOLDER)}, one of which a folder of diffusers has")
    for file in (path / "unet" / "config.json", path / "config.json"):
        if file.is_file():
            return _of({"form": "diffusers", "kwargs": json.loads(file.read_text(encoding="utf-8"))}, required=True)
    return NOTHING


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        first = stream.read(1)
        stream.seek(-1 if first else 0, 2)
        return first == b"\x80" and stream.read(1) == b"."


def _check_kind(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(len(outlines.LEGACY))
    if not start:
        raise ValueError("the file is empty")
    if start[:2] == b"PK":
        if not zipfile.is_zipfile(path):
            raise ValueError("cut short: torch.save's files end in an index")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if not any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
            raise ValueError("a zip without data.pkl, which torch.save writes")
    elif start != outlines.LEGACY and start[0] not in MSGPACK:
        raise ValueError("neither torch.save nor flax wrote it")


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """(bytes, content) of a .safetensors' header. ValueError for another file."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("no header of safetensors, or cut short")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("no header of safetensors")
    return 8 + length, header


def _check_whole(path: Path) -> dict[str, Any]:
    """The header of a .safetensors. ValueError where the file is not as long as that says."""
    length, header = _header(path)
    size = length + max((entry["data_offsets"][1] for key, entry in header.items() if key != METADATA), default=0)
    if size != path.stat().st_size:
        raise ValueError(f"{path.stat().st_size:,} bytes, and its header says {size:,}")
    return header


def _safetensors(path: Path, given: Mapping[str, Any] | str | None) -> Any:
    header = _check_whole(path)
    settings = _settings(path, given)
    if settings is not None:
        return settings
    stated = (header.get(METADATA) or {}).get(METADATA_CONFIG)
    if stated is None and (known := _known(header, path)):
        return known.settings
    if stated is None:
        name = path.with_suffix(".json").name
        raise FileNotFoundError(f"no configuration in its header, nor a file {name} beside it: {FORM}")
    return json.loads(stated)


def _known(header: Mapping[str, Any], path: Path) -> PublishedNetwork | None:
    shapes = {key: entry["shape"] for key, entry in header.items() if key != METADATA}
    return with_tensors([shapes_digest(shapes)], path.stem)


FORM = '{"precond": "EDMPrecond", "kwargs": {...}}, what NVlabs/edm makes the network with'
