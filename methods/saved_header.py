"""The header of a student that fewstep exported, read without torch."""

import json
from pathlib import Path

FORMAT = "fewstep-method-1"
METADATA = "__metadata__"
LARGEST = 100_000_000
"""Bytes of a header that is read: the largest of a safetensors file."""


def metadata(file: Path) -> dict[str, str]:
    """What the header of a .safetensors says beside its tensors; empty for another file, or none."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > min(LARGEST, file.stat().st_size):
                return {}
            found = json.loads(stream.read(length)).get(METADATA, {})
    except (OSError, ValueError, AttributeError):
        return {}
    return (
        {str(key): value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
    )


def method_facts(file: Path) -> dict[str, str]:
    """The header of a student or learned solver that fewstep exported; empty for another file, or none."""
    found = metadata(file)
    return found if found.get("format") == FORMAT else {}
