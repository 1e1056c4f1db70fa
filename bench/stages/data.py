"""The data set that a task was planned with."""

from typing import Any

from ... import datasets
from ...datasets.base import Dataset
from ...datasets.registry import ArchiveError
from ..errors import TaskError


def load(params: dict[str, Any]) -> Dataset:
    """The data set params["dataset"]. TaskError if it cannot be read, or has changed since the plan was made."""
    try:
        data = datasets.get(params["dataset"])
    except (ArchiveError, OSError) as error:
        raise TaskError(str(error)) from None
    if getattr(data, "content", "") != params.get("content", ""):
        raise TaskError(f"the archive of {data.name} has changed since this run was planned; run it again")
    return data
