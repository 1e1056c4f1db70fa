"""What is known of a suite's published networks before their files are here. No torch."""

from pathlib import Path

from ...datasets.frozen import register as frozen
from ...methods.options import Options
from ...methods.published_networks import NETWORKS, PublishedNetwork
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...methods.specs.teachers.pipeline import PipelineOptions
from ...methods.specs.teachers.shipped import ShippedOptions
from .. import published_files
from .schema import Teacher


def network(teacher: Options) -> PublishedNetwork | None:
    """The registered network that a teacher is read from; None for another file or another kind of teacher."""
    if not isinstance(teacher, CheckpointOptions):
        return None
    file = published_files.meant(teacher.file, published_files.CHECKPOINTS)
    return NETWORKS.get(Path(file).stem) if file in published_files.REGISTER else None


def told(teacher: Teacher) -> bool:
    """Whether its network is told labels or captions, as far as is known before its file is here."""
    if isinstance(teacher, ShippedOptions):
        return teacher.file in frozen.NETWORKS and frozen.NETWORKS[teacher.file].conditional
    known = network(teacher)
    return teacher.conditional or (known is not None and known.classes > 0) or isinstance(teacher, PipelineOptions)
