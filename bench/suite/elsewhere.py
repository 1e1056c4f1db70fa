"""Rules about rows that were made elsewhere: what they are read from and where they belong. No torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...datasets.registry import DATASETS
from ...methods import registry
from ...methods.options import Options
from ...methods.specs.images import ImagesOptions
from ...methods.specs.released import ReleasedOptions
from ...methods.specs.student import StudentRowOptions, released
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...methods.specs.teachers.pipeline import PipelineOptions
from ...methods.teachers.pipelines import facts
from .. import published_files
from .document import Location
from .fits import Complaint, entries
from .networks import network
from .pairs import datasets, teachers
from .schema import MethodEntry, Suite

SOURCES = {"student": ("file", "file"), "released": ("folder", "folder"), "images": ("source", "from")}
"""Method -> the option that says from what it is read, and as a suite writes it."""


def alone(suite: Suite) -> bool:
    """Whether no row needs a teacher of the suite's."""
    try:
        return all(entry.spec.alone for entry in suite.methods)
    except registry.UnknownNameError:
        return False


def network_of(options: Options) -> CheckpointOptions | PipelineOptions:
    """The network that a row brings with it, as the teacher that it is read as."""
    if isinstance(options, ReleasedOptions):
        told = of_captions(options) or facts.recognised(Path(options.folder))
        return options.pipeline() if told else CheckpointOptions(file=options.folder)
    assert isinstance(options, StudentRowOptions)
    form: dict[str, Any] = {} if options.form == "auto" else {"form": options.form}
    ends = {} if options.exported else {"sigma_min": options.sigma_min, "sigma_max": options.sigma_max}
    return CheckpointOptions.model_validate({"file": options.file, **form, **ends})


def of_captions(options: ReleasedOptions) -> list[str]:
    """The options that a network of pixels does not have, as far as they are given."""
    names = ("unet", "prediction", "guidance", "resolution")
    found = [name for name in names if getattr(options, name) not in ("", None)]
    return [*found, *(["sampler"] if options.sampler == "sim" else [])]


def datasets_of(suite: Suite, entry: MethodEntry) -> list[str]:
    """The data sets that a row belongs to: those that it names, that of a published network, or all."""
    if entry.on is not None:
        return entry.on
    names = list(dict.fromkeys(name for _, name in datasets(suite)))
    options = entry.checked()
    published = released(options.file) if isinstance(options, StudentRowOptions) else None
    return [published.data] if published is not None and published.data in names else names


def rows_made_elsewhere_are_whole(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
        if entry.spec.elsewhere:
            yield from _nothing_is_trained(where, entry)
            yield from _belongs(where, suite, entry)
            yield from _source(where, suite, entry)
        else:
            yield from _with_teachers_of_the_suite(where, suite, entry)


def _with_teachers_of_the_suite(where: Location, suite: Suite, entry: MethodEntry) -> Iterator[Complaint]:
    labels = list(dict.fromkeys(teacher.shown() for _, teacher in teachers(suite)))
    for label in entry.on or []:
        if label not in labels:
            has = f"no teacher {label!r}{registry.did_you_mean(label, labels)}"
            yield (*where, "on"), f"the suite has {has}; {entry.name} runs on those whose labels it names, or on all"


def _nothing_is_trained(where: Location, entry: MethodEntry) -> Iterator[Complaint]:
    for key in ("budgets", "tune", "fitted_on"):
        if getattr(entry, key) is not None:
            yield (*where, key), f"{entry.name} is {entry.spec.made}: there is nothing to train; leave it out"


def _belongs(where: Location, suite: Suite, entry: MethodEntry) -> Iterator[Complaint]:
    names = list(dict.fromkeys(name for _, name in datasets(suite)))
    for name in entry.on or []:
        if name not in names:
            yield (*where, "on"), f"the suite has no data set {name!r}{registry.did_you_mean(name, names)}"
    if entry.name in SOURCES and entry.on is None and len(datasets_of(suite, entry)) > 1:
        yield (
            (*where, "name"),
            f"{entry.name} belongs to one of the suite's data sets: say which, such as on: {names[0]}",
        )


def _source(where: Location, suite: Suite, entry: MethodEntry) -> Iterator[Complaint]:
    options = entry.checked()
    if entry.name == "ground-truth":
        if entry.nfe is not None:
            yield (*where, "nfe"), "the NFE of the exact solution is measured; leave it out"
        return
    attribute, key = SOURCES[entry.name]
    if not getattr(options, attribute):
        yield (*where, "options"), f"{key!r} is missing: what {entry.name} reads"
    elif isinstance(options, ImagesOptions):
        yield from _images(where, suite, entry)
    elif isinstance(options, StudentRowOptions):
        yield from _student((*where, "options"), options)
        yield from _published_shape((*where, "options", "file"), suite, entry, options)


def _images(where: Location, suite: Suite, entry: MethodEntry) -> Iterator[Complaint]:
    if len(entry.nfe or suite.nfe) > 1:
        yield (*where, "name"), "images were made with one NFE: give it, such as nfe: 1"
    for name in datasets_of(suite, entry):
        if name in DATASETS and len(shape := DATASETS[name].shape) != 3:
            yield (*where, "name"), f"images are compared with images, and {name}'s samples have shape {shape}"


def _published_shape(
    place: Location, suite: Suite, entry: MethodEntry, options: StudentRowOptions
) -> Iterator[Complaint]:
    """Known before the file is here."""
    known = network(network_of(options)) if options.form == "auto" else None
    for name in datasets_of(suite, entry):
        if known is not None and name in DATASETS and known.shape != (shape := DATASETS[name].shape):
            yield place, f"its images have shape {known.shape}, and {name}'s {shape}"


def _student(place: Location, options: StudentRowOptions) -> Iterator[Complaint]:
    if (fault := options.fault()) is not None:
        yield (*place, "file"), fault
    elif options.resolved is None and published_files.meant(options.file, published_files.CHECKPOINTS) is not None:
        yield place, "'kind' is missing: how the network is sampled, consistency, progressive or one-step"
    try:
        network_of(options)
    except ValidationError as error:
        said = error.errors()[0]
        yield (*place, "form"), f"{said['msg']}: {options.form}"
