"""`fewstep prepare` and `fewstep captions` as commands: progress, and mistakes as one line."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...datasets.facts import ArchiveError
from ...datasets.registry import DATASETS
from ...methods.register import UnknownNameError
from ..errors import InputError


def prepare(
    dataset: str, source: Path | None, root: Path, threads: int, on_note: Callable[[str], None]
) -> list[tuple[Path, dict[str, Any]]]:
    """Make the archives of `dataset` in `root`, from `source` or, without one, from what torchvision downloads.

    InputError for whatever is wrong with the names, the source, or the place.
    """
    from tqdm import tqdm

    from ...datasets import prepare as preparing

    try:
        spec = DATASETS.pick(dataset)
        with tqdm(unit=" images", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:

            def on_progress(file: str, count: int) -> None:
                if count <= bar.n:
                    bar.reset()
                bar.total = spec.size if file == spec.archive else None
                bar.set_description(file, refresh=False)
                bar.update(count - bar.n)

            if source is None:
                return preparing.download(dataset, root, on_progress, threads, on_note)
            return preparing.prepare(dataset, source, root, on_progress, threads, on_note)
    except (UnknownNameError, ArchiveError) as error:
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"{error.filename or root}: {error.strerror}; the same command resumes from here") from None


def captions(dataset: str, count: int | None) -> list[str]:
    """The captions of samples 0 to count - 1. InputError for a data set that has none or is not here."""
    from ...datasets.captions import captions as of_samples

    try:
        return of_samples(dataset, range(count) if count else None)
    except (UnknownNameError, ArchiveError) as error:
        raise InputError(str(error)) from None
