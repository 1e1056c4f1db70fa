"""What a rehearsal of a text-to-image suite runs on: small pipelines and weights of theirs, lists of prompts, and small
networks in the place of those that score captions. No torch before files are made.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...methods import known_pipelines
from .. import published_files
from ..errors import InputError
from ..metrics.extractors import EXTRACTORS
from ..metrics.extractors.registry import (
    AestheticExtractor,
    ClipExtractor,
    Extractor,
    ImageRewardExtractor,
    PickScoreExtractor,
)
from ..metrics.register import METRICS
from ..suite.pipelines import named
from ..suite.schema import Suite

if TYPE_CHECKING:
    from ..metrics.extractors.network import FeatureNetwork

# What it makes are files, whose hashes are part of tasks.
PART_OF_RESULTS = False

PROMPTS = 16
"""Of a list to train on."""
CONFIGURATIONS = "open_clip"
"""The folder with the configuration of small CLIPs."""
Files = Iterator[tuple[Path, Callable[[Path], None]]]
"""A file or folder, and what makes it."""


def require_packages(suite: Suite) -> None:
    """InputError unless small pipelines, and the networks that score them, can be made here."""
    folders = [known_pipelines.folders()[name] for name in named(suite) if name in known_pipelines.folders()]
    needed = [package for folder in folders for package in known_pipelines.PACKAGES[folder.kind]]
    needed += [package for name in scorers_of(suite) for package in EXTRACTORS[name].packages] if folders else []
    if absent := [package for package in dict.fromkeys(needed) if find_spec(package) is None]:
        raise InputError(
            f"a rehearsal of {suite.name} needs {' and '.join(absent)}, which {'are' if absent[1:] else 'is'} not "
            "installed: pip install 'fewstep[captions]'"
        )


def pipelines(suite: Suite) -> Files:
    """The published folders, files of weights and lists of prompts that the suite names."""
    for name in named(suite):
        place = known_pipelines.located(name)
        if (known := known_pipelines.known(name)) is not None:
            yield place, partial(_pipeline, known)
        elif name in known_pipelines.prompts():
            yield place, _prompts


def scorers(suite: Suite) -> Files:
    """The files of the networks that score captions, and of the aesthetic score."""
    weights = published_files.folder()
    for name in scorers_of(suite):
        extractor = EXTRACTORS[name]
        files = [weights / file for file in extractor.files]
        if isinstance(extractor, ClipExtractor):
            yield files[0], partial(_clip, configurations=weights / CONFIGURATIONS)
            yield from ((file, _head) for file in files[1:])
        else:
            yield files[0].parent, partial(_made, "pickscore" if len(files) == 2 else "imagereward", files)


def small(name: str, extractor: Extractor) -> Extractor:
    """What reads the small network in the extractor's place; the extractor itself where it can."""
    replaced: dict[type, type[ClipExtractor]] = {ClipExtractor: SmallClip, AestheticExtractor: SmallAesthetic}
    cls = replaced.get(type(extractor))
    if cls is None:
        return extractor
    from ..metrics.extractors.stand_ins import TINY

    facts: dict[str, Any] = {field.name: getattr(extractor, field.name) for field in fields(extractor)}
    return cls(**{**facts, "name": name, "model": TINY})


class SmallClip(ClipExtractor):
    """A CLIP of a configuration that open_clip does not know yet."""

    def build(self, files: list[Path]) -> "FeatureNetwork":
        from ..metrics.extractors import stand_ins

        stand_ins.know_tiny(published_files.folder() / CONFIGURATIONS)
        return super().build(files)


class SmallAesthetic(SmallClip, AestheticExtractor):
    """The same, with the aesthetic head."""


def scorers_of(suite: Suite) -> list[str]:
    """The extractors of the suite's metrics that small networks stand in for."""
    kinds = (ClipExtractor, PickScoreExtractor, ImageRewardExtractor)
    features = dict.fromkeys(METRICS[metric].features for metric in suite.metrics)
    return [name for name in features if isinstance(EXTRACTORS.get(name), kinds)]


def _pipeline(known: Any, target: Path) -> None:
    from ...methods.teachers.pipelines import miniature

    make = miniature.write if isinstance(known, known_pipelines.Folder) else miniature.write_weights
    make(known, target)


def _prompts(file: Path) -> None:
    file.write_text("".join(f"picture {i}\n" for i in range(PROMPTS)), encoding="utf-8")


def _clip(file: Path, configurations: Path) -> None:
    from ..metrics.extractors import stand_ins

    stand_ins.clip(file, configurations)


def _head(file: Path) -> None:
    from ..metrics.extractors import stand_ins

    stand_ins.aesthetic_head(file)


def _made(which: str, files: list[Path], folder: Path) -> None:
    from ..metrics.extractors import stand_ins

    folder.mkdir()
    getattr(stand_ins, which)(*(folder / file.name for file in files))
