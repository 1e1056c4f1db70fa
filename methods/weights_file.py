"""Weights as safetensors with facts in the header, written as the same bytes every time."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save as serialised
from torch import Tensor

LENGTH = 8
"""Bytes of the little-endian length that a safetensors file begins with; the header is padded to a multiple of them."""


def save(weights: Mapping[str, Tensor], file: Path, facts: Mapping[str, str]) -> None:
    """Write the tensors with `facts` in the header, sorted by name; safetensors itself orders facts at random."""
    plain = memoryview(serialised({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}))
    end = LENGTH + int.from_bytes(plain[:LENGTH], "little")
    tensors = json.loads(bytes(plain[LENGTH:end]))
    header = json.dumps({"__metadata__": dict(sorted(facts.items())), **tensors}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % LENGTH)
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(LENGTH, "little"))
        stream.write(header)
        stream.write(plain[end:])
