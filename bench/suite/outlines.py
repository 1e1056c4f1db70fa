"""Names and shapes of the tensors in files of torch.save or flax, read without their numbers and without torch.

What they tell is looked up in the register of published networks: files of these forms hold no settings.
"""

import collections
import mmap
import zipfile
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from ...methods import msgpack, unpickling
from ...methods.published_networks import PublishedNetwork, shapes_digest, with_tensors

ZIP, LEGACY = b"PK", bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
"""How torch.save's files begin, and began before it wrote zips."""
BEFORE = 3
"""Pickles in front of the content in a file of the old kind: a number, a version and the machine's sizes."""
MODULES = "all_modules."
"""Of score_sde's networks, beside which buffers lie that are no part of them."""

Shapes = dict[str, tuple[int, ...]]


class Tensor(NamedTuple):
    shape: tuple[int, ...]


def network_in(path: Path) -> PublishedNetwork:
    """The published network whose tensors the file has, under whatever name. ValueError, in one line, for none."""
    stat = path.stat()
    network = with_tensors(_digests(path, stat.st_size, stat.st_mtime_ns), path.stem)
    if network is None:
        raise ValueError(
            f"its tensors are those of no published network, and its settings not in it: write them to "
            f"{path.with_suffix('.json').name} beside it, or into `config` (docs/checkpoints.md)"
        )
    return network


@lru_cache(maxsize=64)
def _digests(path: Path, size: int, changed: int) -> tuple[str, ...]:
    """Of each state dict in the file, read once for as long as the file stays."""
    digests = tuple(dict.fromkeys(shapes_digest(shapes) for shapes in _states(_content(path))))
    if not digests:
        raise ValueError("no tensors with names, which a network's file holds")
    return digests


def _states(content: Any, depth: int = 2) -> Iterator[Shapes]:
    """Each state dict in what the file holds, without the prefix of nn.DataParallel."""
    if not isinstance(content, Mapping):
        if depth and isinstance(content, list | tuple):
            for part in content:
                yield from _states(part, depth - 1)
        return
    leaves = dict(_leaves(content))
    prefix = "module." if leaves and all(name.startswith("module.") for name in leaves) else ""
    shapes = {name.removeprefix(prefix): tensor.shape for name, tensor in leaves.items()}
    if shapes:
        modules = {name: shape for name, shape in shapes.items() if name.startswith(MODULES)}
        yield modules or shapes
    if depth:
        for part in content.values():
            yield from _states(part, depth - 1)


def _leaves(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays of a tree, each by its path in it."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}/")
        elif hasattr(value, "shape"):
            yield f"{prefix}{name}", value


def _content(path: Path) -> Any:
    """What the file holds, its tensors as their shapes. ValueError for a file that cannot be read so."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(LEGACY))
            if start.startswith(ZIP):
                return _zipped(path)
            stream.seek(0)
            if start != LEGACY:
                return _packed(stream)
            for _ in range(BEFORE):
                _outline(stream)
            return _outline(stream)
    except Exception as error:
        # What a broken file asks for is anything.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"not a file of tensors that torch.save or flax wrote: {reason}") from None


def _zipped(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its tensors are compressed, which torch.save does not do")
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with archive.open(name) as stream:
            return _outline(stream)


def _packed(stream: IO[bytes]) -> Any:
    return _shapes_of(msgpack.parse(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))))


def _shapes_of(content: Any) -> Any:
    """The content without its arrays, whose bytes are the file's."""
    if isinstance(content, dict):
        return {name: _shapes_of(value) for name, value in content.items()}
    return Tensor(content.shape) if hasattr(content, "shape") else None


def _outline(stream: IO[bytes]) -> Any:
    """What torch.save pickled, its tensors as their shapes: nothing that a file names is imported or called."""
    return unpickling.outline(stream, STANDS_FOR, _Other)


class _Other:
    """In place of whatever else a file names: an optimiser's settings, a device."""

    def __init__(self, *arguments: Any) -> None: ...

    def __call__(self, *arguments: Any) -> "_Other":
        return self

    def __setstate__(self, state: Any) -> None: ...


def _tensor(storage: Any, offset: int, size: tuple[int, ...], *rest: Any) -> Tensor:
    return Tensor(tuple(size))


def _parameter(data: Any, *rest: Any) -> Any:
    return data


STANDS_FOR = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}
