"""What a cell reads of its data set: images or labels, or nothing beyond what the register says. No torch."""

from ...datasets.registry import DATASETS
from ...methods.registry import data_free
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...methods.specs.teachers.module import ModuleOptions
from ...methods.specs.teachers.shipped import ShippedOptions
from ..suite.networks import network
from ..suite.schema import MethodEntry, Teacher

FROM_A_FILE: tuple[type, ...] = (CheckpointOptions, ModuleOptions, ShippedOptions)
"""Teachers that see no data when they are made; another package's may."""


def takes_labels(teacher: Teacher, dataset: str) -> bool:
    """Whether its samples have labels, which are drawn, and no captions, each of which has its sample: for a file that
    is not registered, whether they may.
    """
    if not DATASETS[dataset].classes or DATASETS[dataset].prompted:
        return False
    if not teacher.conditional and (known := network(teacher)) is not None:
        return known.classes > 0
    return teacher.conditional or isinstance(teacher, CheckpointOptions)


def teacher_reads_data(teacher: Teacher, dataset: str, labels: str) -> bool:
    """To be made, or to know in which proportions labels are drawn. labels: the suite's."""
    proportions = labels == "data" and takes_labels(teacher, dataset)
    return proportions or not isinstance(teacher, FROM_A_FILE)


def training_reads_data(entry: MethodEntry) -> bool:
    """To train on, or to be judged by while training."""
    if not entry.spec.trains:
        return False
    selects = entry.tune is not None or any(options.needs_quality for options in entry.trials())
    return selects or not data_free(entry.spec)
