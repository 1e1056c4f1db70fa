"""The part of msgpack that flax.serialization writes for arrays: maps, text, numbers, and arrays of numbers.

https://github.com/msgpack/msgpack/blob/master/spec.md. Anything else, Python objects above all, is refused. No torch.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DEEPEST = 32
ARRAY, SCALAR = 1, 3
"""flax's extension types: an array, and a number of NumPy's, as (shape, dtype, bytes)."""
DTYPES = (
    "float32",
    "float64",
    "float16",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)
NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
SIZED = {
    0xC4: ("binary", ">B"), 0xC5: ("binary", ">H"), 0xC6: ("binary", ">I"),
    0xD9: ("text", ">B"), 0xDA: ("text", ">H"), 0xDB: ("text", ">I"),
    0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
    0xC7: ("extension", ">B"), 0xC8: ("extension", ">H"), 0xC9: ("extension", ">I"),
}  # fmt: skip


def read(file: Path) -> Any:
    """What the file holds, its arrays as numpy.ndarray that share the file's bytes. ValueError for another file."""
    return parse(memoryview(file.read_bytes()))


def parse(data: memoryview) -> Any:
    """The same of the file's bytes, of which those of its arrays are not looked at."""
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(reader.data):
        raise ValueError("more follows after its end")
    return value


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise ValueError("it is cut short")
        taken = self.data[self.at : self.at + count]
        self.at += count
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def value(self, depth: int) -> Any:
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        tag = self.take(1)[0]
        if tag in CONSTANTS:
            return CONSTANTS[tag]
        if tag in NUMBERS:
            return self.number(NUMBERS[tag])
        if tag in FIXED_EXTENSIONS:
            return self.extension(FIXED_EXTENSIONS[tag], depth)
        if tag in SIZED:
            kind, form = SIZED[tag]
            return self.sized(kind, self.number(form), depth)
        return self.short(tag, depth)

    def short(self, tag: int, depth: int) -> Any:
        """Values whose length, or themselves, are in the tag."""
        if tag < 0x80 or tag >= 0xE0:
            return tag if tag < 0x80 else tag - 0x100
        if tag == 0xC1:
            raise ValueError("it holds the byte c1, which msgpack does not use")
        kind, length = ("map", tag & 15) if tag < 0x90 else ("list", tag & 15) if tag < 0xA0 else ("text", tag & 31)
        return self.sized(kind, length, depth)

    def sized(self, kind: str, length: int, depth: int) -> Any:
        readers: dict[str, Callable[[], Any]] = {
            "binary": lambda: self.take(length),
            "text": lambda: str(self.take(length), "utf-8"),
            "list": lambda: [self.value(depth + 1) for _ in range(self.plausible(length))],
            "map": lambda: dict(self.item(depth) for _ in range(self.plausible(length))),
            "extension": lambda: self.extension(length, depth),
        }
        return readers[kind]()

    def plausible(self, count: int) -> int:
        """Each item takes a byte at least."""
        if count > len(self.data) - self.at:
            raise ValueError("it is cut short")
        return count

    def item(self, depth: int) -> tuple[str, Any]:
        key = self.value(depth + 1)
        if not isinstance(key, str):
            raise ValueError(f"a key is {str(key)[:40]!r}, not text")
        return key, self.value(depth + 1)

    def extension(self, length: int, depth: int) -> np.ndarray:
        code = self.number(">b")
        if code not in (ARRAY, SCALAR):
            raise ValueError(f"it holds an object of extension type {code}, and only arrays are read")
        inner = _Reader(self.take(length))
        described = inner.value(depth + 1)
        if not isinstance(described, list) or len(described) != 3:
            raise ValueError("an array has no shape, dtype and bytes")
        shape, dtype, content = described
        if isinstance(dtype, memoryview):
            dtype = str(dtype, "utf-8")
        if dtype not in DTYPES or not isinstance(content, memoryview) or not isinstance(shape, list):
            raise ValueError(f"an array of {str(dtype)[:40]!r}, and only arrays of numbers are read")
        return _array(shape, np.dtype(dtype), content)


def _array(shape: list[Any], dtype: np.dtype, content: memoryview) -> np.ndarray:
    size = dtype.itemsize
    for side in shape:
        if type(side) is not int or side < 0:
            raise ValueError("an array's shape is not one of whole numbers")
        size *= side
    if size != len(content):
        raise ValueError(f"an array of shape {tuple(shape)} has {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape)
