"""Frozen networks: what every machine distils from and measures with, so that their numbers compare. No torch."""

import json
from pathlib import Path

FOLDER = Path(__file__).parent
SUFFIX = ".safetensors"


def path(name: str) -> Path:
    """Where the network of that name lies."""
    return FOLDER / (name + SUFFIX)


def facts(name: str) -> dict[str, str]:
    """The provenance in a network's header: options, data, ledger, versions. ValueError or OSError if it has none."""
    with path(name).open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    found: dict[str, str] = header.get("__metadata__", {})
    return found
