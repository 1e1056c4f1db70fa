"""Links inside an archive: which of its files they stand for. Nothing outside of it is ever meant."""

import posixpath
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

from .forms import LOOP, OUTSIDE, Kind

CHAIN = 40
"""Links on the way to a file, as Linux allows."""


def target(name: str, written: str) -> str:
    """Where a link of that name leads, from the archive's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), written))


def followed(files: Iterable[str], targets: Mapping[str, str]) -> Iterator[tuple[str, str | Kind]]:
    """(name, the file that it means, or why it means none) for every link and every file behind it."""
    real = {posixpath.normpath(file): file for file in files}
    within = {posixpath.normpath(name): target for name, target in targets.items()}
    ordered = sorted(real)
    for name in targets:
        end = _end(within[posixpath.normpath(name)], within)
        if end in real:
            yield name, real[end]
        elif end == "." or f"{posixpath.normpath(name)}/".startswith(f"{end}/"):
            yield name, LOOP
        else:
            found = list(_below(ordered, f"{end}/"))
            yield from ((name + path[len(end) :], real[path]) for path in found)
            yield from ((name + link[len(end) :], OUTSIDE) for link in within if link.startswith(f"{end}/"))
            if not found:
                yield name, OUTSIDE


def _end(path: str, within: Mapping[str, str]) -> str:
    """The path without links on its way; as it is where they do not end."""
    for _ in range(CHAIN):
        parts = path.split("/")
        heads = ("/".join(parts[: i + 1]) for i in range(len(parts)))
        link = next((head for head in heads if head in within), None)
        if link is None:
            break
        path = posixpath.normpath(within[link] + path[len(link) :])
    return path


def _below(ordered: list[str], prefix: str) -> Iterator[str]:
    for path in ordered[bisect_left(ordered, prefix) :]:
        if not path.startswith(prefix):
            break
        yield path
