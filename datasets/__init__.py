"""Data sets: `get(name)` loads one; the registry lists them without loading anything."""

from typing import TYPE_CHECKING

from .registry import DATASETS

if TYPE_CHECKING:
    from .base import Dataset


def get(name: str) -> "Dataset":
    """The data set of that name; UnknownNameError (a ValueError) names the nearest if there is none."""
    dataset: Dataset = DATASETS.pick(name).load()()
    return dataset
