"""`fewstep prepare`: from the form in which people have a data set to the archive that is read here."""

import itertools
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from . import archive
from .registry import DATASETS, ArchiveError


def prepare(
    name: str, source: Path, root: Path, on_progress: Callable[[str, int], None]
) -> list[tuple[Path, dict[str, Any]]]:
    """Write the archives of data set `name` into `root`: (path, facts) of each.

    on_progress: called with an archive's name and how many images it has. ArchiveError says what is wrong with the
    source, by the member's name; an archive is written whole or not at all.
    """
    spec = DATASETS[name]
    if not spec.archive:
        raise ArchiveError(f"{name} is embedded: there is nothing to prepare")
    root.mkdir(parents=True, exist_ok=True)
    written = []
    for file, images in import_module(spec.module).splits(source).items():
        first = next(images, None)
        if first is None and file != spec.archive:
            continue
        provenance = {"dataset": name, "source": source.name, "preprocessing": "none", "licence": spec.licence}
        everything = images if first is None else itertools.chain([first], images)
        facts = archive.write(root / file, everything, provenance, lambda count, file=file: on_progress(file, count))  # type: ignore[misc]
        written.append((root / file, facts))
    return written
