"""The data set that a task was planned with."""

from ... import datasets
from ...datasets.base import Dataset
from ...datasets.registry import ArchiveError
from ..errors import TaskError


def load(name: str, content: str | None) -> Dataset:
    """The data set of that name. TaskError if it cannot be read, or its archive's hash is not `content` any more."""
    try:
        data = datasets.get(name)
    except (ArchiveError, OSError) as error:
        raise TaskError(str(error)) from None
    if getattr(data, "content", "") != (content or ""):
        raise TaskError(f"the archive of {data.name} has changed since this run was planned; run it again")
    return data
