"""The networks of others that teachers are read from: which file a suite means, and whether it is here. No torch."""

from pathlib import Path

from ...methods.missing import Missing
from ...methods.options import Options
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from .. import published_files


def meant(name: str) -> str | None:
    """The registered name or the path of the network that `name` means; None if there is neither."""
    return published_files.meant(name, published_files.CHECKPOINTS)


def located(teacher: CheckpointOptions) -> Path | None:
    """Where the teacher's file lies, None if it is not here."""
    file = meant(teacher.file)
    return published_files.located(file) if file else None


def missing_checkpoint(teacher: Options) -> Missing | None:
    """What is wrong with the teacher's file; None if nothing, or for a teacher without one."""
    if not isinstance(teacher, CheckpointOptions):
        return None
    file = meant(teacher.file)
    if file is None:
        return Missing(teacher.file, "fewstep doctor")
    return published_files.missing(file) if file in published_files.REGISTER else None


def checkpoint(teacher: Options) -> dict[str, str]:
    """What a teacher's task knows of its file, wherever it lies: its hash. Empty for a teacher without one."""
    path = located(teacher) if isinstance(teacher, CheckpointOptions) else None
    return {} if path is None else {"sha256": published_files.sha256(path)}
