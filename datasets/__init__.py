"""Data sets: `get(name)` loads one; the registry lists them without loading anything."""

from typing import TYPE_CHECKING

from .registry import DATASETS

if TYPE_CHECKING:
    from .base import Dataset


def get(name: str) -> "Dataset":
    """The data set of that name; UnknownNameError (a ValueError) names the nearest if there is none.

    ValueError if the data are not of the shape and classes that their declaration promises.
    """
    spec = DATASETS.pick(name)
    data: Dataset = spec.load()()
    if (found := (data.shape, data.classes)) != (told := (spec.shape, spec.classes)):
        raise ValueError(f"data set {name}: (shape, classes) is declared as {told}, and its data have {found}")
    return data
