"""The data sets by name, with what a plan needs to know of them. No torch.

Every module of `specs` is found by itself. Another package adds a data set through the entry point group
`fewstep.datasets`: each entry point names a DatasetSpec, in a module that does not import torch either.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args

from ..methods.missing import Missing
from ..methods.register import Register, UnknownNameError, announced
from .facts import ArchiveError as ArchiveError
from .facts import read_facts

# A task names the module that reads its data.
PART_OF_RESULTS = False


def data_root() -> Path:
    """Where archives lie: FEWSTEP_DATA, or the folder `data`."""
    return Path(os.environ.get("FEWSTEP_DATA", "data"))


Group = Literal["truth", "classifier", "scorer", "law", "perceptual", "published"]
"""What samples can be scored by: the teacher's exact solutions, a classifier of the data set, a scorer of its images
with their captions, LPIPS, the features of networks that others trained on photographs."""


@dataclass(frozen=True)
class DatasetSpec:
    """One data set.

    name: as suites write it. target: "module:function", called without arguments when the data are needed; it returns
    a `datasets.base.Dataset`, of images an ImageSet. Its module, with what that imports from its own package, is the
    source version of the data. summary: one line. shape: of one sample, (channels, height, width) of an image.
    size: the number of samples. metrics: the groups that they can be scored by. classes: the number of labels, 0
    without. classifier: "module:RECIPE" of the network behind the group "classifier", a
    `datasets.classifiers.Recipe`, or "scorer", a `datasets.scorers.ScorerRecipe`. quality: the metric, a Fréchet
    distance, that training and tuning may select by.
    archive: the file below the data root that `fewstep prepare` makes, empty for what is embedded; `target` is then
    called with name, path, shape and classes. archive_of: the data set whose archive it is, if not its own.
    captions: the length of the frozen list, which the data have as `prompts`.
    """

    name: str
    target: str
    summary: str
    shape: tuple[int, ...]
    size: int
    metrics: tuple[Group, ...]
    classes: int = 0
    classifier: str = ""
    archive: str = ""
    licence: str = ""
    quality: str = ""
    captions: int = 0
    source: "Source | None" = None
    archive_of: str = ""

    def __post_init__(self) -> None:
        for group in self.metrics:
            if group not in (known := get_args(Group)):
                raise ValueError(f"data set {self.name}: no group of metrics {group!r}; one of {', '.join(known)}")
        own = {"classifier", "scorer"} & {*self.metrics}
        if len(own) != bool(self.classifier):
            message = "the group 'classifier' or 'scorer' and a classifier need each other"
            raise ValueError(f"data set {self.name}: {message}")

    @property
    def shown(self) -> str:
        """What tables call it."""
        return self.name

    @property
    def prompted(self) -> bool:
        """Whether a label is the row of a caption, which teachers are told: not so for images with captions beside."""
        return 0 < self.captions == self.classes

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of metrics that its samples can be scored by: of photographs with captions, how they fit too."""
        return (*self.metrics, *(["captions"] if self.captions and "published" in self.metrics else []))

    @property
    def module(self) -> str:
        """The module that reads the data."""
        return self.target.partition(":")[0]

    def recipe(self) -> Any:
        """The Recipe behind `classifier`."""
        return _found(self.classifier)

    def load(self) -> Callable[[], Any]:
        loader: Callable[..., Any] = _found(self.target)
        return partial(loader, self.name, self.path(), self.shape, self.classes) if self.archive else loader

    def path(self) -> Path:
        return data_root() / self.archive

    def missing(self) -> Missing | None:
        """The archive, if it is not here."""
        if not self.archive or self.path().is_file():
            return None
        return Missing(str(self.path()), f"fewstep prepare {self.name} --from SOURCE")

    def how_to_get(self) -> str:
        """Where its images are published, how they become the archive, its size and licence."""
        if self.source is None:
            return "embedded"
        make = f"`fewstep prepare {self.name} --from {self.source.form}`"
        about = f"about {self.source.gigabytes:g} GB; licence: {self.licence}{self.known_statistics()}"
        return f"{self.source.page}: {self.source.steps}; {make}; {about}"

    def known_statistics(self) -> str:
        """The published statistics that a suite's `references` may name for it, as the end of a line."""
        names = self.source.statistics if self.source else ()
        return f"; published statistics: {', '.join(names)}" if names else ""

    def identity(self) -> dict[str, str]:
        """What tells these data from others of the same name: the archive's hash; nothing for what is embedded."""
        return {"content": read_facts(self.path())["sha256"]} if self.archive else {}


@dataclass(frozen=True)
class Source:
    """Where the images come from, and what is done to them.

    page, steps, form: where and how to get them, and what `--from` then names. gigabytes: of the archive and what is
    laid down beside it. preprocessing: a convention of `preprocess`. labels: what the label is, for the provenance.
    class_names: the folders of the classes, in order; without, folders named by WNID are. splits: the folders that
    are read where the source is divided into train, test and val. held_out: the archive of the "test" split, which has
    held_out_size images. balanced: whether all classes have the same number of images. statistics: the published ones
    that were made of these images in this way. original: the side of the published images, where those of any other
    size are not it. reader: "module:function" for a form that no other data set has.
    """

    page: str
    steps: str
    form: str
    gigabytes: float
    preprocessing: str = "none"
    labels: str = "none"
    class_names: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    held_out: str = ""
    held_out_size: int = 0
    balanced: bool = False
    original: int = 0
    statistics: tuple[str, ...] = ()
    reader: str = f"{__package__}.sources:splits"

    def read(self) -> Callable[..., Any]:
        reader: Callable[..., Any] = _found(self.reader)
        return reader


def _found(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(import_module(module), function)


PACKAGE = __package__
"""The package that the built-in targets are in."""
ARCHIVE = f"{PACKAGE}.archive:loader"
"""The target of every data set that `fewstep prepare` makes."""
SCENES: tuple[Group, ...] = ("truth", "perceptual", "published")
"""What photographs can be scored by where no classifier is trained."""


def _built_in() -> list[DatasetSpec]:
    """Those that are embedded, then the archives; within these by the names of their files."""
    return sorted(announced(import_module(".specs", PACKAGE)), key=lambda spec: bool(spec.archive))


class DataSets(Register[DatasetSpec]):
    """Beside the names that are registered, which alone are iterated over, the path of a person's own images is one."""

    def pick(self, name: str) -> DatasetSpec:
        try:
            found = self._own(name)
        except ArchiveError as error:
            raise UnknownNameError(str(error)) from None
        if found is None and "/" in name:
            raise UnknownNameError(f"no folder or file of images {name!r}, nor a dataset of that name")
        return found or super().pick(name)

    def __getitem__(self, name: str) -> DatasetSpec:
        return self._own(name) or self.entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def _own(self, name: str) -> DatasetSpec | None:
        from . import own_images

        try:
            return own_images.spec(name) if name not in self.entries and Path(name).exists() else None
        except (OSError, ValueError):
            return None


DATASETS = DataSets("dataset", "fewstep.datasets", _built_in, of=DatasetSpec)
