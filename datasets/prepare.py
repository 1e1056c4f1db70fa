"""`fewstep prepare`: from the form in which people have a data set to the archive that is read here."""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import writing
from .facts import ArchiveError
from .registry import DATASETS
from .sources import listing, origin

Made = list[tuple[Path, dict[str, Any]]]


def prepare(name: str, source: Path, root: Path, on_progress: Callable[[str, int], None], threads: int = 1) -> Made:
    """Write the archives of data set `name` into `root`: (path, facts) of each.

    on_progress: called with an archive's name and how many images it has. threads: that decode and resize.
    ArchiveError says what is wrong with the source, by the member's name; an archive is written whole or not at all.
    After an interruption, the same call goes on where it was.
    """
    spec = DATASETS[name]
    own = origin(spec)
    if not source.exists():
        raise ArchiveError(f"{source}: no such file or folder")
    root.mkdir(parents=True, exist_ok=True)
    identity, written = listing(source), []
    for file, (records, captions) in own.read()(spec, source).items():
        first = next(records, None)
        if first is None and file != spec.archive:
            continue
        everything = records if first is None else itertools.chain([first], records)
        provenance = {
            "dataset": name,
            "source": source.name,
            "preprocessing": own.preprocessing,
            "labels": own.labels,
            "licence": spec.licence,
        }

        def count(images: int, file: str = file) -> None:
            on_progress(file, images)

        facts = writing.write(root / file, everything, provenance, count, captions, identity, threads)
        written.append((root / file, facts))
    return written


def download(name: str, root: Path, on_progress: Callable[[str, int], None], threads: int = 1) -> Made:
    """Let torchvision download `name`, which must be cifar10, and prepare it; what was downloaded is not kept."""
    if name != "cifar10":
        raise ArchiveError(f"{name}: only cifar10 can be downloaded; {DATASETS[name].how_to_get()}")
    from .cifar10 import download as fetch

    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as folder:
        return prepare(name, fetch(Path(folder)), root, on_progress, threads)
