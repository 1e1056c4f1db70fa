"""Rules about the classifier that guides a teacher: its file, its classes, and who can learn from it. No torch."""

from collections.abc import Iterator

from ...datasets.registry import DATASETS
from ...methods import registry
from ...methods.published_networks import NETWORKS
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from .. import published_files
from .fits import Complaint, entries, places
from .pairs import teachers
from .schema import Suite


def classifiers_fit(suite: Suite) -> Iterator[Complaint]:
    for place, teacher, dataset in places(suite):
        if not isinstance(teacher, CheckpointOptions) or teacher.classifier is None:
            continue
        where, file, data = (*place, "classifier", "file"), teacher.classifier.file, DATASETS[dataset]
        known = NETWORKS.get(file)
        if published_files.meant(file, published_files.CHECKPOINTS) is None:
            names = [name for name, network in NETWORKS.items() if network.kind == "classifier"]
            yield where, f"no file {file}, and no known classifier of that name{registry.did_you_mean(file, names)}"
        elif known is not None and known.kind != "classifier":
            yield where, f"{file} is no classifier of noisy images; give it as the teacher's own file"
        elif known is not None and (known.shape, known.classes) != (tuple(data.shape), data.classes):
            theirs = f"{known.classes} classes of images {known.shape}"
            yield where, f"it knows {theirs}, and {dataset} has {data.classes} of {tuple(data.shape)}"


def labels_can_be_learned(suite: Suite) -> Iterator[Complaint]:
    """A student copies its teacher's network: one that knows no labels cannot be told those of the classifier."""
    unaware = [
        teacher
        for _, teacher in teachers(suite)
        if isinstance(teacher, CheckpointOptions) and teacher.classifier and not _may_know_labels(teacher)
    ]
    for where, entry in entries(suite):
        if unaware and entry.spec.needs_network:
            message = (
                f"{entry.name} trains a copy of {unaware[0].file}, which knows no labels: only its classifier does"
            )
            yield (*where, "name"), message + "; leave one of the two out"


def _may_know_labels(teacher: CheckpointOptions) -> bool:
    known = NETWORKS.get(teacher.file)
    return known is None or known.classes > 0
