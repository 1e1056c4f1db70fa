"""`fewstep prepare`: from the form in which people have a data set to the archive that is read here."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import writing
from .facts import ArchiveError
from .registry import DATASETS, DatasetSpec
from .sources import listing, origin
from .writing import Record

Made = list[tuple[Path, dict[str, Any]]]


def prepare(
    name: str,
    source: Path,
    root: Path,
    on_progress: Callable[[str, int], None],
    threads: int = 1,
    on_note: Callable[[str], None] = lambda line: None,
) -> Made:
    """Write the archives of data set `name` into `root`: (path, facts) of each.

    on_progress: called with an archive's name and how many images it has. threads: that decode and resize.
    on_note: called with a line on files of the source that are not read, or on images and classes that the set is known
    to have and the archive has not.
    ArchiveError says what is wrong with the source, by the member's name; an archive is written whole or not at all.
    After an interruption, the same call goes on where it was.
    """
    spec = DATASETS[name]
    own = origin(spec)
    if not source.exists():
        raise ArchiveError(f"{source}: no such file or folder")
    identity, written = listing(source), []
    with _folder(root):
        for file, part in own.read()(spec, source).items():
            if part.unread:
                on_note(f"{source}: {part.unread}")
            first = next(part.records, None)
            if first is None and file != spec.archive:
                continue
            labels: set[int | None] = set()
            everything = part.records if first is None else itertools.chain([first], part.records)
            provenance = {
                "dataset": name,
                "source": source.name,
                "preprocessing": own.preprocessing,
                "labels": own.labels,
                "licence": spec.licence,
            }

            def count(images: int, file: str = file) -> None:
                on_progress(file, images)

            facts = writing.write(
                root / file, _noting(everything, labels), provenance, count, part.captions, identity, threads
            )
            written.append((root / file, facts))
            if file == spec.archive and (line := shortfall(spec, facts, labels)):
                on_note(f"{root / file}: {line}")
    return written


def shortfall(spec: DatasetSpec, facts: dict[str, Any], labels: set[int | None] | None = None) -> str:
    """What an archive lacks, or has too much, of what the set is known to have; empty where they agree.

    labels: those found, where they are known; facts: the archive's.
    """
    captions = facts.get("captions", {}).get("count", 0)
    absent = sorted(set(range(spec.classes)) - labels) if labels is not None else []
    parts = [f"{facts['count']} images, {spec.name} has {spec.size}"] if facts["count"] != spec.size else []
    if captions != spec.captions:
        parts.append(f"{captions} captions, {spec.name} has {spec.captions}")
    if absent and labels != {None}:
        shown = ", ".join(map(str, absent[:10])) + (f" and {len(absent) - 10} more" if absent[10:] else "")
        parts.append(f"no image of class {shown}")
    return "; ".join(parts)


def _noting(records: Iterator[Record], labels: set[int | None]) -> Iterator[Record]:
    for record in records:
        labels.add(record.label)
        yield record


@contextmanager
def _folder(root: Path) -> Iterator[None]:
    """The data root, which is not left behind where it was made for nothing."""
    made = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except (ArchiveError, OSError):
        if made and not any(root.iterdir()):
            root.rmdir()
        raise


def download(
    name: str,
    root: Path,
    on_progress: Callable[[str, int], None],
    threads: int = 1,
    on_note: Callable[[str], None] = lambda line: None,
) -> Made:
    """Let torchvision download `name`, which must be cifar10, and prepare it; what was downloaded is not kept."""
    if name != "cifar10":
        raise ArchiveError(f"{name}: only cifar10 can be downloaded; {DATASETS[name].how_to_get()}")
    from .cifar10 import download as fetch

    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        return prepare(name, fetch(Path(folder)), root, on_progress, threads, on_note)
