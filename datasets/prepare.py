"""`fewstep prepare`: from the form in which people have a data set to the archive that is read here."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import writing
from .expected import shortfall
from .facts import ArchiveError
from .registry import DATASETS
from .sources import listing, origin

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
    spec = DATASETS[DATASETS[name].archive_of or name]
    own = origin(spec)
    if not source.exists():
        raise ArchiveError(f"{source}: no such file or folder")
    identity, written = listing(source), []
    with _folder(root):
        for file, part in own.read()(spec, source).items():
            first = next(part.records, None)
            if first is None:
                if file == spec.archive:
                    raise ArchiveError(f"{source.name}: there are no images for {file}{_also(part.unread)}")
                continue
            if part.unread:
                on_note(f"{source}: {part.unread}")
            provenance = {
                "dataset": spec.name,
                "source": source.name,
                "preprocessing": own.preprocessing,
                "labels": own.labels,
                "licence": spec.licence,
            }

            def count(images: int, file: str = file) -> None:
                on_progress(file, images)

            records = itertools.chain([first], part.records)
            facts = writing.write(root / file, records, provenance, count, part.captions, identity, threads)
            written.append((root / file, facts))
            if line := shortfall(spec, facts, held_out=file != spec.archive):
                on_note(f"{root / file}: {line}")
    return written


def _also(line: str) -> str:
    return f"; {line}" if line else ""


@contextmanager
def _folder(root: Path) -> Iterator[None]:
    """The data root, which is not left behind where it was made for nothing. ArchiveError where it cannot be."""
    made = [folder for folder in (root, *root.parents) if not folder.exists()]
    probe = root / f".probe-{os.getpid()}"
    try:
        try:
            root.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ArchiveError(f"{root}: cannot write there: {error.strerror}") from None
        yield
    except BaseException:
        # Up to the first that holds something, such as what the next attempt goes on from.
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
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

    with _folder(root), tempfile.TemporaryDirectory(dir=root) as folder:
        return prepare(name, fetch(Path(folder)), root, on_progress, threads, on_note)
