"""The tasks around a text-to-image teacher: its table of prompts, and latents to train on. No torch."""

import hashlib
from dataclasses import asdict

from ...datasets.registry import DATASETS
from ...methods.options import Options
from ...methods.specs.teachers.pipeline import PipelineOptions
from ...methods.teachers.edm_pickle import CheckpointError
from ...methods.teachers.pipelines import facts
from ..errors import InputError
from .kinds import TEACHER, LatentsParams, PromptsParams
from .references import data_code, identity
from .task import Task

ELSEWHERE = frozenset({"prompts", "tokens", "clean", "table"})
"""Options of a pipeline that are of its table of prompts, and not of its network."""
CODE = "fewstep.methods.teachers.pipelines"


def prompts_task(teacher: Options, dataset: str, device: str) -> Task | None:
    """The table of a pipeline's prompts on a data set; None for another teacher."""
    if not isinstance(teacher, PipelineOptions):
        return None
    encoding = teacher.encoding()
    training = teacher.prompts_path
    params = PromptsParams(
        folder=str(teacher.path),
        encoders=_facts(teacher).identity(encoding),
        encoding=asdict(encoding),
        dataset=dataset,
        device=device,
        training=None if training is None else str(training),
        training_sha256=None if training is None else hashlib.sha256(training.read_bytes()).hexdigest(),
        **identity(dataset),
    )
    code = (*data_code(dataset), f"{CODE}.encoders", f"{CODE}.facts")
    return Task(params, {}, code, 2.0 * DATASETS[dataset].captions, f"prompts of {dataset} for {teacher.shown()}")


def latents_task(teacher: Options, task: Task, dataset: str, device: str) -> Task | None:
    """A data set's images as latents of a pipeline, whose teacher `task` is; None for another teacher."""
    if not isinstance(teacher, PipelineOptions):
        return None
    params = LatentsParams(dataset=dataset, device=device, **identity(dataset))
    code = (*data_code(dataset), f"{CODE}.autoencoder")
    return Task(params, {TEACHER: task}, code, 2.0 * DATASETS[dataset].size, f"latents of {dataset}")


def _facts(teacher: PipelineOptions) -> facts.Facts:
    try:
        return facts.read(teacher.path, teacher.resolution)
    except CheckpointError as error:
        raise InputError(str(error)) from None
