"""What is known of a suite's published networks before their files are here. No torch."""

from pathlib import Path

from ...methods.options import Options
from ...methods.published_networks import NETWORKS, PublishedNetwork
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from .. import published_files


def network(teacher: Options) -> PublishedNetwork | None:
    """The registered network that a teacher is read from; None for another file or another kind of teacher."""
    if not isinstance(teacher, CheckpointOptions):
        return None
    file = published_files.meant(teacher.file, published_files.CHECKPOINTS)
    return NETWORKS.get(Path(file).stem) if file in published_files.REGISTER else None
