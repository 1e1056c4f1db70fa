"""Data sets: `get(name)` loads one; the registry lists them without loading anything."""

from typing import TYPE_CHECKING

from ..methods.register import pick
from .registry import DATASETS

if TYPE_CHECKING:
    from .base import Dataset


def get(name: str) -> "Dataset":
    """The data set of that name; UnknownNameError (a ValueError) names the nearest if there is none."""
    dataset: Dataset = pick(DATASETS, name, "dataset").load()()
    return dataset
