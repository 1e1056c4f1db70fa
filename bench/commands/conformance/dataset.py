"""Properties of data sets: what is there, what it looks like, and that row i is row i."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ....datasets.base import Dataset
from ....datasets.registry import DatasetSpec
from .properties import Failed, NotApplicable, require

LOOKED_AT = 200
"""Rows that are read, spread over the data set."""


@dataclass
class DataUnderTest:
    """A data set under test; it is loaded once, if it is here."""

    spec: DatasetSpec

    @cached_property
    def data(self) -> Dataset:
        if (missing := self.spec.missing()) is not None:
            raise NotApplicable(str(missing))
        loaded: Dataset = self.spec.load()()
        return loaded

    @property
    def rows(self) -> Tensor:
        return torch.linspace(0, len(self.data) - 1, min(LOOKED_AT, len(self.data))).long()


def what_is_missing_is_said(subject: DataUnderTest) -> None:
    """Without its archive it answers one line with a command."""
    if not subject.spec.archive:
        require(subject.spec.missing() is None, "it has no archive, and yet something is missing")
        raise NotApplicable("it is embedded")
    with no_data():
        line = subject.spec.missing()
    require(line is not None, "without its archive, missing() says that nothing is missing")
    require("\n" not in str(line) and "`fewstep " in str(line), f"missing() names no command to get it by: {line!r}")


@contextmanager
def no_data() -> Iterator[None]:
    """Inside, the folder of archives is empty."""
    before = os.environ.get("FEWSTEP_DATA")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FEWSTEP_DATA"] = folder
        try:
            yield
        finally:
            os.environ.pop("FEWSTEP_DATA")
            if before is not None:
                os.environ["FEWSTEP_DATA"] = before


def size_and_shape_are_told(subject: DataUnderTest) -> None:
    data, spec = subject.data, subject.spec
    x0 = data.samples(subject.rows)
    require(data.name == spec.name, f"it calls itself {data.name!r}, its spec {spec.name!r}")
    require(len(data) == spec.size, f"it holds {len(data)} samples, its spec says {spec.size}")
    require(tuple(data.shape) == tuple(spec.shape), f"its shape is {data.shape}, its spec's {spec.shape}")
    expected = (len(subject.rows), *spec.shape)
    require(tuple(x0.shape) == expected, f"samples(indices) is {tuple(x0.shape)}, not {expected}")


def values_are_in_range(subject: DataUnderTest) -> None:
    x0, bound = subject.data.samples(subject.rows), subject.data.bound
    require(x0.dtype == torch.float32, f"samples are {x0.dtype}: give float32")
    require(bool(x0.isfinite().all()), "samples are not finite")
    if bound is not None:
        largest = float(x0.abs().max())
        require(largest <= bound * (1 + 1e-6), f"|x0| reaches {largest:.4g}, above the bound of {bound:g}: rescale")
        require(largest > bound / 10, f"|x0| never exceeds {largest:.4g}, and the bound is {bound:g}: rescale")
    require(float(x0.std(0).max()) > 0, "all samples are the same")


def labels_are_in_range(subject: DataUnderTest) -> None:
    data = subject.data
    require(
        data.classes == subject.spec.classes, f"it has {data.classes} classes, its spec says {subject.spec.classes}"
    )
    labels = data.labels(subject.rows)
    if data.classes == 0:
        require(labels is None, "it has no classes, and yet labels")
        raise NotApplicable("it has no labels")
    require(labels is not None, f"it has {data.classes} classes and no labels")
    assert labels is not None
    require(labels.dtype == torch.int64, f"labels are {labels.dtype}: give int64")
    require(
        labels.shape == subject.rows.shape, f"labels(indices) is {tuple(labels.shape)} for {len(subject.rows)} rows"
    )
    low, high = int(labels.min()), int(labels.max())
    require(0 <= low <= high < data.classes, f"labels are {low} to {high}, not 0 to {data.classes - 1}")


def rows_are_themselves(subject: DataUnderTest) -> None:
    """samples(indices) and labels(indices) give row i as row i, in every batch and order."""
    rows = subject.rows
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    for name in ("samples", "labels"):
        read: Callable[[Tensor], Any] = getattr(subject.data, name)
        whole = read(rows)
        if whole is None:
            continue
        advice = f"make {name}(indices)[k] a function of indices[k] alone"
        require(torch.equal(whole, read(rows)), f"{name} of the same rows differ when they are read twice: {advice}")
        require(torch.equal(whole[order], read(rows[order])), f"{name} depend on the order of the batch: {advice}")
        require(torch.equal(whole[:3], read(rows[:3])), f"{name} depend on the batch that they are in: {advice}")
        require(torch.equal(whole[:1], read(rows[:1])), f"{name} of a single row differ: {advice}")


def loading_repeats(subject: DataUnderTest) -> None:
    first = subject.data
    second: Dataset = subject.spec.load()()
    same = torch.equal(first.samples(subject.rows), second.samples(subject.rows))
    if not same:
        raise Failed("loaded twice, it has other samples: derive them from a fixed seed")
    one, other = first.labels(subject.rows), second.labels(subject.rows)
    equal = one is other if one is None or other is None else torch.equal(one, other)
    require(equal, "loaded twice, it has other labels: derive them from a fixed seed")


PROPERTIES: dict[str, Callable[[DataUnderTest], None]] = {
    "a missing archive is said in one line with a command": what_is_missing_is_said,
    "size and shape are as its spec says": size_and_shape_are_told,
    "values are finite and within the bound": values_are_in_range,
    "labels are in range": labels_are_in_range,
    "row i is the same in every batch": rows_are_themselves,
    "loaded twice, it is the same": loading_repeats,
}
