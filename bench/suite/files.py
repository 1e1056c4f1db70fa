"""Rules about the files of networks and images, where they are here: what their first bytes say. No torch."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...datasets import own_images
from ...datasets.registry import DATASETS, ArchiveError
from ...methods.specs.images import ImagesOptions
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from .. import published_files
from ..metrics.metric import OWN
from ..metrics.register import METRICS
from . import elsewhere, first_bytes
from .document import Location
from .fits import Complaint, entries, places
from .schema import Suite


class Read(NamedTuple):
    """A network that is read from a file for a data set, and where the suite says so; student: a row brings it."""

    place: Location
    network: CheckpointOptions
    dataset: str
    student: bool


def files_hold_networks_of_the_data(suite: Suite) -> Iterator[Complaint]:
    for place, network, dataset, student in _read(suite):
        path, data = published_files.located_checkpoint(network.file), DATASETS[dataset]
        if path is None or len(data.shape) != 3:
            continue
        reason = first_bytes.fault(path, data.shape, network, student, data.classes)
        if reason is not None:
            yield place, f"{path}: {reason}"
        yield from _classifier(place, network, dataset)


def _read(suite: Suite) -> Iterator[Read]:
    for place, teacher, dataset in places(suite):
        if isinstance(teacher, CheckpointOptions):
            yield Read(place if place[-1] == "dataset" else (*place, "file"), teacher, dataset, False)
    for where, entry in entries(suite):
        if not entry.spec.elsewhere or entry.name not in ("student", "released"):
            continue
        network, key = elsewhere.network_of(entry.checked()), elsewhere.SOURCES[entry.name][1]
        if not isinstance(network, CheckpointOptions):
            continue
        for dataset in elsewhere.datasets_of(suite, entry):
            yield Read((*where, "options", key), network, dataset, True)


def _classifier(place: Location, network: CheckpointOptions, dataset: str) -> Iterator[Complaint]:
    guide = network.classifier
    if guide is None or (path := published_files.located_checkpoint(guide.file)) is None:
        return
    data = DATASETS[dataset]
    reason = first_bytes.classifier_fault(path, data.shape, data.classes, guide.config)
    if reason is not None:
        yield (*place[:-1], "classifier", "file"), f"{path}: {reason}"


def images_are_of_the_data(suite: Suite) -> Iterator[Complaint]:
    """By their first one; the others are looked at when the suite is planned."""
    for where, entry in entries(suite):
        options = entry.checked()
        if not isinstance(options, ImagesOptions) or not os.path.exists(options.source):
            continue
        try:
            shape = own_images.spec(options.source).shape
        except (ArchiveError, OSError, ValueError) as error:
            yield (*where, "options", "from"), str(error)
            continue
        for dataset in elsewhere.datasets_of(suite, entry):
            if (reason := other_shape(shape, dataset, suite.metrics)) is not None:
                yield (*where, "options", "from"), f"{Path(options.source)}: {reason}"


def other_shape(shape: Sequence[int], dataset: str, metrics: Sequence[str]) -> str | None:
    """Why images of that shape cannot be measured by the data set's own network, if they are to be."""
    own = [name for name in metrics if METRICS[name].features in OWN]
    if not own or tuple(shape) == (expected := DATASETS[dataset].shape):
        return None
    return f"images of shape {tuple(shape)}, and {', '.join(own)} need {expected}"
