"""Files that torch.save wrote, of which only tensors, numbers and containers are taken: no code in them runs."""

import re
import warnings
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ...unpickling import reason
from .base import CheckpointError

LARGEST = 2**34
"""Bytes beyond which a file is none of the published ones, optimisers included."""
NAMED = re.compile(r"GLOBAL ([\w.]+)")


def read(file: Path) -> Any:
    """What was saved. CheckpointError for a file that is broken or names anything else."""
    if file.stat().st_size > LARGEST:
        raise CheckpointError(f"more than {LARGEST >> 30} GiB, which no network here has")
    try:
        if zipfile.is_zipfile(file):
            _check_entries(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:
        # A broken file asks for anything: more memory than there is, shapes that do not fit, endless recursion.
        raise CheckpointError(f"not a file of tensors that torch.save wrote: {_reason(error)}") from None


def _check_entries(file: Path) -> None:
    """torch stores tensors uncompressed: a small file that unpacks to more is none of its own."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError("its tensors are compressed, which torch.save does not do")
    if sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise CheckpointError("its tensors are said to take more than the file")


def _reason(error: BaseException) -> str:
    named = NAMED.search(str(error))
    if named:
        return f"it names {named[1]}, which is not needed"
    # torch's own first line advises to run what is in the file.
    return "it holds more than tensors and numbers" if isinstance(error, UnpicklingError) else reason(error)
