"""What a published network's file says of itself before its tensors are read: its kind, and where it says so its shape.
No torch.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...methods.published_networks import NETWORKS, shapes_digest, with_tensors
from ...methods.saved_header import method_facts

METADATA, METADATA_CONFIG = "__metadata__", "config"
"""Where a .safetensors has facts beside its tensors, and which of them a network's settings are."""
FOLDER = ("model_index.json", "config.json")
"""What a folder of diffusers has, one or the other."""
LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
"""How torch.save began before it wrote zips."""
MSGPACK = (*range(0x81, 0x90), 0xDE, 0xDF)
"""The first byte of a map."""

Shape = tuple[Any, ...]


def shape_of(path: Path, given: Mapping[str, Any] | str | None = None) -> Shape | None:
    """(C, H, W) of the network's samples, None where the first bytes do not tell. `given`: its settings, or their file.

    FileNotFoundError for a .safetensors without settings, ValueError for a file of no known kind.
    """
    if given is not None and (path.is_dir() or path.suffix == ".pkl"):
        raise ValueError("its settings are in it, and `config` is for files that leave them out")
    if path.is_dir():
        return _folder(path)
    if path.suffix == ".pkl":
        if not _is_pickle(path):
            raise ValueError("not a whole pickle, which EDM's .pkl is")
        return None
    if facts := method_facts(path):
        _check_whole(path)
        return tuple(json.loads(facts["network"])["shape"])
    if path.suffix == ".safetensors":
        return _of(_safetensors(path, given), required=True)
    _check_kind(path)
    settings = _settings(path, given)
    if settings is None:
        network = NETWORKS.get(path.stem)
        return network.shape if network is not None and network.file == path.name else None
    return _of(settings, required=False)


def beside(path: Path, given: Mapping[str, Any] | str | None = None) -> Path | None:
    """The JSON file that a network's settings are read from, None where they are in the file, in the suite or known."""
    if isinstance(given, str):
        return Path(given)
    file = path.with_suffix(".json")
    if given is not None or path.is_dir() or path.suffix == ".pkl" or not file.is_file():
        return None
    return None if path.suffix == ".safetensors" and METADATA_CONFIG in (_header(path)[1].get(METADATA) or {}) else file


def _settings(path: Path, given: Mapping[str, Any] | str | None) -> Any:
    if isinstance(given, Mapping):
        return given
    file = beside(path, given)
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"no file {file}, which `config` names")
    return None if file is None else json.loads(file.read_text(encoding="utf-8"))


def _of(config: Any, required: bool) -> Shape | None:
    """The shape that a configuration tells of. ValueError for one of no form."""
    if not isinstance(config, Mapping):
        raise ValueError(f"its configuration is a {type(config).__name__}")
    own = None if "network" in config else "edm"
    form = config.get("form", own if required else None)
    part = config.get("kwargs" if form in ("edm", "diffusers") else "network")
    if not isinstance(part, Mapping) or (form == "edm" and "precond" not in config):
        raise ValueError("its configuration has no precond or no kwargs, nor another form's `form` and `network`")
    if form == "fewstep":
        return tuple(config["shape"])
    if form == "edm":
        side, channels = part.get("img_resolution"), part.get("img_channels")
    elif form == "diffusers":
        side, channels = part.get("sample_size"), part.get("in_channels", 3)
    else:
        side, channels = part.get("image_size"), part.get("in_channels", part.get("num_channels", 3))
    return None if side is None and form != "edm" else (channels, side, side)


def _folder(path: Path) -> Shape | None:
    if not any((path / name).is_file() for name in FOLDER):
        raise ValueError(f"a folder without {' or '.join(FOLDER)}, one of which a folder of diffusers has")
    for file in (path / "unet" / "config.json", path / "config.json"):
        if file.is_file():
            return _of({"form": "diffusers", "kwargs": json.loads(file.read_text(encoding="utf-8"))}, required=True)
    return None


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as stream:
        first = stream.read(1)
        stream.seek(-1 if first else 0, 2)
        return first == b"\x80" and stream.read(1) == b"."


def _check_kind(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(len(LEGACY))
    if not start:
        raise ValueError("the file is empty")
    if start[:2] == b"PK":
        if not zipfile.is_zipfile(path):
            raise ValueError("cut short: torch.save's files end in an index")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if not any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
            raise ValueError("a zip without data.pkl, which torch.save writes")
    elif start != LEGACY and start[0] not in MSGPACK:
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
    shapes = {key: entry["shape"] for key, entry in header.items() if key != METADATA}
    if stated is None and (known := with_tensors(shapes_digest(shapes))):
        return known[0].settings
    if stated is None:
        name = path.with_suffix(".json").name
        raise FileNotFoundError(f"no configuration in its header, nor a file {name} beside it: {FORM}")
    return json.loads(stated)


FORM = '{"precond": "EDMPrecond", "kwargs": {...}}, what NVlabs/edm makes the network with'
