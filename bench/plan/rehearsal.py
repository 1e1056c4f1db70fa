"""What a rehearsal runs on: published files and archives made up in a folder, which takes the place of those of the
machine while it lasts. No torch before files are made.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets.registry import DATASETS, DatasetSpec
from ...methods.assets import LPIPS_FILES, hub_file
from ...methods.options import Options
from ...methods.portable import rename
from ...methods.published_networks import PublishedNetwork
from ...reports.rehearsal import marked
from .. import published_files
from ..metrics.extractors import EXTRACTORS
from ..metrics.extractors.registry import CleanInceptionExtractor, DinoV2Extractor, Extractor, InceptionExtractor
from ..metrics.metric import LPIPS
from ..metrics.register import METRICS
from ..suite.elsewhere import network_of
from ..suite.networks import network
from ..suite.pairs import datasets, references, teachers
from ..suite.schema import Suite
from . import rehearsed_captions
from .references import statistics

if TYPE_CHECKING:
    from ..metrics.extractors.network import FeatureNetwork

# What it changes is named by the tasks: hashes of files, and shapes by what is made of them.
PART_OF_RESULTS = False

IMAGES = 64
"""Of a data set."""
SIDE = 16
"""Pixels of its images at most."""
PLACES = {"FEWSTEP_WEIGHTS": "weights", "FEWSTEP_DATA": "data", "TORCH_HOME": "torch"}
"""Where files are looked for: the variable, and the folder of the rehearsal that it names."""
TOLD = "FEWSTEP_REHEARSAL"
"""Set for workers, which inherit the environment."""


def side(pixels: int) -> int:
    """Of the images of a rehearsal, for a data set of `pixels`: what the levels of small networks can be halved to."""
    return min(pixels, SIDE)


@contextmanager
def entered(suite: Suite, folder: Path) -> Iterator[None]:
    """The files of the suite are those in `folder`, made where they are not there yet; data sets are small."""
    rehearsed_captions.require_packages(suite)
    real = {file: published_files.find(file) for file in _captions_files(suite)}
    before = {name: os.environ.get(name) for name in (*PLACES, TOLD)}
    os.environ |= {name: str((folder / place).absolute()) for name, place in PLACES.items()} | {TOLD: "1"}
    undo = _shrink()
    try:
        _make(suite, real)
        yield
    finally:
        undo()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def resume() -> None:
    """In a worker of a rehearsal: the same for as long as it lives."""
    if os.environ.get(TOLD):
        _shrink()


def _shrink() -> Callable[[], None]:
    """Make the registers say what is in the folder; returns what undoes it."""
    sets, networks = dict(DATASETS.entries), dict(EXTRACTORS)
    DATASETS.entries.update({name: _small_set(spec) for name, spec in sets.items() if type(spec) is DatasetSpec})
    projected = {name: _projected(name, found) for name, found in _replaced()}
    EXTRACTORS.update({name: rehearsed_captions.small(name, found) for name, found in networks.items()} | projected)

    def undo() -> None:
        DATASETS.entries.update(sets)
        EXTRACTORS.update(networks)

    return undo


def _replaced() -> list[tuple[str, Extractor]]:
    """The extractors of images alone, which random projections stand in for."""
    kinds = (InceptionExtractor, DinoV2Extractor)
    return [(name, found) for name, found in EXTRACTORS.items() if isinstance(found, kinds)]


class Projected(Extractor):
    """Random features in the place of a large network's."""

    def protocol(self) -> str:
        return f"{self.network}/{self.resize}"

    def build(self, files: list[Path]) -> "FeatureNetwork":
        from ..metrics.extractors.stand_ins import Projection

        return Projection(self.resize)


class CleanProjected(Projected):
    """Of images that clean-fid resizes."""

    packages = {"cleanfid": CleanInceptionExtractor.packages["cleanfid"]}


def _projected(name: str, real: Extractor) -> Projected:
    kind = CleanProjected if isinstance(real, CleanInceptionExtractor) else Projected
    return kind(name, "random", real.resize, ())


class SmallSet(DatasetSpec):
    """A data set in a rehearsal; tables mark its name."""

    @property
    def shown(self) -> str:
        return marked(self.name)


def _small_set(spec: DatasetSpec) -> SmallSet:
    facts = {field.name: getattr(spec, field.name) for field in fields(DatasetSpec)}
    # Captions come with images that are decoded when asked for, which smaller ones are not.
    if spec.archive and not spec.captions:
        facts["shape"] = (spec.shape[0], *(side(pixels) for pixels in spec.shape[1:]))
    facts["size"] = IMAGES if spec.archive else spec.size
    return SmallSet(**facts)


def _make(suite: Suite, real: dict[str, Path | None]) -> None:
    """real: the files of extractors that nothing stands in for, where they lie outside of rehearsals."""
    weights = published_files.folder()
    for known in _networks(suite):
        _once(weights / published_files.CHECKPOINTS / known.file, partial(_network, known))
    for name in _datasets(suite):
        if (spec := DATASETS[name]).archive:
            _once(spec.path(), partial(_archive, spec))
    for _, _, name in references(suite):
        if (statistic := statistics(name)) in published_files.REGISTER:
            _once(weights / str(statistic), _statistics)
    for file, found in real.items():
        if found is not None:
            _once(weights / file, partial(_linked, found.absolute()))
    for place, make in (*rehearsed_captions.pipelines(suite), *rehearsed_captions.scorers(suite)):
        _once(place, make)
    # Without the package its rows are refused, as those of the suite itself are.
    if _needs_lpips(suite) and find_spec("torchvision") is not None:
        _once(hub_file(next(iter(LPIPS_FILES))), _lpips)


def _linked(real: Path, file: Path) -> None:
    if sys.platform == "win32":
        # A link takes a privilege there.
        shutil.copyfile(real, file)
    else:
        file.symlink_to(real)


def _once(file: Path, make: Callable[[Path], None]) -> None:
    """Aside and renamed, so that what a killed run has left half-written is not taken for whole."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.parent / f".{os.getpid()}" / file.name
    aside.parent.mkdir(exist_ok=True)
    make(aside)
    if (beside := aside.with_suffix(".json")).is_file():
        rename(beside, file.with_suffix(".json"))
    rename(aside, file)
    shutil.rmtree(aside.parent)


def _network(known: PublishedNetwork, file: Path) -> None:
    from ...methods.teachers.forms import miniature, writing

    writing.write(file, miniature.settings(known, side(known.shape[1])), seed=0)


def _archive(spec: DatasetSpec, file: Path) -> None:
    from ...datasets.made_up import write

    write(file, spec, IMAGES)


def _statistics(file: Path) -> None:
    from ..metrics.extractors import stand_ins

    stand_ins.statistics(file)


def _lpips(file: Path) -> None:
    from ..metrics.extractors import stand_ins

    stand_ins.lpips(file, hub_file(list(LPIPS_FILES)[1]))


def _networks(suite: Suite) -> Iterator[PublishedNetwork]:
    """Those that the register knows; any other file is used as it is."""
    options: list[Options] = [teacher for _, teacher in teachers(suite)]
    for entry in suite.methods:
        if entry.fitted_on is not None and entry.fitted_on.teacher is not None:
            options.append(entry.fitted_on.teacher)
        if entry.name in ("student", "released"):
            options.append(network_of(entry.checked()))
    for chosen in options:
        classifier = getattr(chosen, "classifier", None)
        guide = None if classifier is None else chosen.model_copy(update={"file": classifier.file})
        yield from filter(None, (network(chosen), guide and network(guide)))


def _datasets(suite: Suite) -> list[str]:
    fitted = [entry.fitted_on.dataset for entry in suite.methods if entry.fitted_on is not None]
    return list(dict.fromkeys([*(name for _, name in datasets(suite)), *fitted]))


def _captions_files(suite: Suite) -> list[str]:
    """Of the extractors that nothing stands in for."""
    replaced = {name for name, _ in _replaced()} | set(rehearsed_captions.scorers_of(suite))
    features = {METRICS[metric].features for metric in suite.metrics} - replaced
    return [file for name in sorted(features) if name in EXTRACTORS for file in EXTRACTORS[name].files]


def _needs_lpips(suite: Suite) -> bool:
    distances = {getattr(options, "distance", None) for entry in suite.methods for options in entry.trials()}
    return "lpips" in distances or any(METRICS[metric].features == LPIPS for metric in suite.metrics)
