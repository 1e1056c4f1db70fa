"""The networks of others that teachers are read from: which file a suite means, whether it is here, and its hash.
No torch.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ...methods.missing import Missing
from ...methods.options import Options
from ...methods.specs.teachers.checkpoint import CheckpointOptions, ClassifierOptions
from .. import published_files
from ..errors import InputError
from ..suite import first_bytes
from ..suite.first_bytes import fault as fault


def meant(name: str) -> str | None:
    """The registered name or the path of the network that `name` means; None if there is neither."""
    return published_files.meant(name, published_files.CHECKPOINTS)


def located(teacher: CheckpointOptions) -> Path | None:
    """Where the teacher's file lies, None if it is not here."""
    return published_files.located_checkpoint(teacher.file)


def located_classifier(teacher: Options) -> Path | None:
    """Where the file of the classifier that guides the teacher lies, None if it is not here or there is no such."""
    classifier = getattr(teacher, "classifier", None)
    return published_files.located_checkpoint(classifier.file) if isinstance(classifier, ClassifierOptions) else None


def missing_checkpoint(teacher: Options) -> Missing | None:
    """What is wrong with the teacher's file, or its classifier's; None if nothing, or for a teacher without one."""
    if not isinstance(teacher, CheckpointOptions):
        return None
    missing = _missing(teacher.file)
    return _missing(teacher.classifier.file) if missing is None and teacher.classifier is not None else missing


def _missing(name: str) -> Missing | None:
    file = meant(name)
    if file is None:
        return Missing(name, "fewstep doctor")
    return published_files.missing(file) if file in published_files.REGISTER else None


def checkpoint(
    teacher: Options, shape: Sequence[int] = (), student: bool = False, classes: int | None = None
) -> dict[str, str]:
    """What a teacher's task knows of its files, wherever they lie: their hashes, and that of what they leave out.

    student: a network that a row brings with it. Empty for a teacher without a file. InputError for one that holds no
    network of samples of that shape.
    """
    path = located(teacher) if isinstance(teacher, CheckpointOptions) else None
    if path is None:
        return {}
    assert isinstance(teacher, CheckpointOptions)
    if (reason := fault(path, shape, teacher, student, classes)) is not None:
        raise InputError(f"{path}: {reason}")
    guide = located_classifier(teacher)
    classifier = {} if guide is None else {"classifier": digest(guide)}
    return {"sha256": digest(path), **_settings(path, teacher), **classifier}


def _settings(path: Path, teacher: CheckpointOptions) -> dict[str, str]:
    """The hash of a JSON file of settings, or of those that are known for a published name."""
    beside = first_bytes.beside(path, teacher.config)
    if beside is not None:
        return {"settings": hashlib.sha256(beside.read_bytes()).hexdigest()}
    known = first_bytes.from_register(path, teacher.config)
    if known is None:
        return {}
    return {"settings": hashlib.sha256(json.dumps(known.settings, sort_keys=True).encode()).hexdigest()}


def digest(path: Path) -> str:
    """The hash of a file, or of the files of a folder with their names."""
    if path.is_file():
        return published_files.sha256(path)
    files = {str(file.relative_to(path)): file for file in sorted(path.rglob("*")) if file.is_file()}
    lines = [f"{name} {published_files.sha256(file)}" for name, file in files.items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
