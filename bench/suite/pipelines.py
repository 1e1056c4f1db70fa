"""Rules about text-to-image pipelines: what their folders hold, and the captions that they need. No torch."""

import os
from collections.abc import Iterator

from ...datasets.registry import DATASETS
from ...methods import known_pipelines
from ...methods.specs.released import ReleasedOptions
from ...methods.specs.teachers.pipeline import PipelineOptions
from ...methods.teachers.edm_pickle import CheckpointError
from ...methods.teachers.pipelines import facts
from . import elsewhere
from .document import Location
from .fits import Complaint, entries, places
from .pairs import teachers
from .schema import Suite


def networks(suite: Suite) -> Iterator[PipelineOptions]:
    """The pipelines of teachers, and those that rows bring with them."""
    rows = (entry.checked() for entry in suite.methods if entry.name == "released")
    own = (elsewhere.network_of(row) for row in rows if isinstance(row, ReleasedOptions))
    for options in (*(teacher for _, teacher in teachers(suite)), *own):
        if isinstance(options, PipelineOptions):
            yield options


def named(suite: Suite) -> list[str]:
    """Folders, files of weights and lists of prompts, as the suite names them, each once."""
    given = ((options.folder, options.network_file, options.prompts) for options in networks(suite))
    return [name for name in dict.fromkeys(name for names in given for name in names) if name is not None]


def pipelines_are_told_captions(suite: Suite) -> Iterator[Complaint]:
    for place, teacher, dataset in places(suite):
        if isinstance(teacher, PipelineOptions):
            yield from _captions(place, dataset)


def released_pipelines_are_told_captions(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
        options = entry.checked()
        if not isinstance(options, ReleasedOptions):
            continue
        place, folder = (*where, "options"), known_pipelines.located(options.folder)
        given = elsewhere.of_captions(options)
        if given and folder.is_dir() and not facts.recognised(folder):
            yield (*place, given[0]), f"{given[0]} is of text-to-image networks, and {folder} holds none"
        network = elsewhere.network_of(options)
        if isinstance(network, PipelineOptions) and (facts.recognised(folder) or not folder.is_dir()):
            for dataset in elsewhere.datasets_of(suite, entry):
                yield from _captions((*place, "folder"), dataset)


def pipelines_can_be_read(suite: Suite) -> Iterator[Complaint]:
    """Those that are here, as far as their configurations and the names of their weights tell."""
    for place, teacher, _ in places(suite):
        if isinstance(teacher, PipelineOptions):
            yield from _readable((*place, "folder"), teacher, row=False)
    for where, entry in entries(suite):
        if not isinstance(options := entry.checked(), ReleasedOptions):
            continue
        network = elsewhere.network_of(options)
        if isinstance(network, PipelineOptions) and facts.recognised(network.path):
            yield from _readable((*where, "options", "folder"), network, row=True)


def _readable(place: Location, options: PipelineOptions, row: bool) -> Iterator[Complaint]:
    if not os.path.isdir(options.path):
        return
    try:
        found = facts.read(options.path, options.resolution)
        found.network_files(), found.codec_files(), found.encoder_files()
    except CheckpointError as error:
        yield place, str(error)
        return
    if found.embeds_guidance and not row:
        message = "its network is told the guidance scale, as few-step models are: it is a row"
        yield place, f"{message}, {{name: released, options: {{folder: ..., sampler: lcm, guidance: ...}}}}"
    elif found.embeds_guidance and options.guidance is None:
        yield place, "its network is told the guidance scale: give `guidance`, such as 8"


def _captions(place: Location, dataset: str) -> Iterator[Complaint]:
    if dataset in DATASETS and not DATASETS[dataset].captions:
        have = " and ".join(spec.name for spec in DATASETS.values() if spec.captions and not spec.prompted)
        yield place, f"{dataset} has no captions, which a text-to-image network is told; {have} have"
