"""One training run of one method under the budget."""

from typing import Any

from ...datasets.base import Dataset
from ...methods import registry, saved, solvers
from ...methods.computing import computed
from ...methods.denoiser import Denoiser, networks
from ...methods.method import Method, TrainingFree
from ...methods.specs.solver import SolverSpec
from ...reports.status import DONE
from ..errors import OutOfBudget, TaskError
from ..plan.kinds import (
    LATENTS,
    TEACHER,
    ExtractorResult,
    RunLedger,
    TeacherParams,
    TeacherResult,
    Trained,
    TrainParams,
)
from ..store import Artifact
from ..training.ledger import Ledger
from ..training.loop import DivergedError, fit
from ..training.tracking import tracked
from . import extractor, latents, preview, teacher
from .context import Context
from .data import Outline, outline
from .device import accelerator

WEIGHTS = "student.safetensors"


def run(task: Context[TrainParams]) -> Trained:
    params, parent = task.params, task.inputs["teacher"]
    denoiser = teacher.load(task.inputs, params.guidance, params.labels)
    module = build(params.method, params.options, denoiser, params.seed, params.nfe)
    if "extractor" in task.inputs:
        module.quality = extractor.quality(task.inputs["extractor"])
    ledger = Ledger(*_limit(task), parent.answer(TeacherResult).flops_per_evaluation)
    data, device = _data(task), accelerator(params.device)
    trainable, status = module.trainable_count(), DONE
    options = registry.method(params.method).options.model_validate(params.options)
    with tracked(task.folder, preview.of_method(module, params.method, options, params.nfe)) as record:
        try:
            with computed(networks(module), **params.computing):
                fit(module, data, params.seed, ledger, task.folder, record, task.on_progress, device)
            saved.save(module, params.method, options, task.folder / WEIGHTS, params.nfe)
        except DivergedError as error:
            status = error.status
    return Trained(
        status=status,
        trainable_parameters=trainable,
        ledger=RunLedger.model_validate(ledger.to_dict()),
        learned=module.learned() if status.done else [],
    )


def _data(task: Context[TrainParams]) -> Dataset:
    """What the method trains on: the data set or, of a latent teacher, its latents; an outline where it reads none."""
    if LATENTS in task.inputs:
        return latents.load(task.inputs[LATENTS])
    parent = task.inputs[TEACHER]
    given, shape = parent.asked(TeacherParams), parent.answer(TeacherResult).latent_shape
    data = outline(given.dataset, given.content or task.params.content)
    return data if shape is None else Outline(data.name, tuple(shape), 0, len(data), None)


def limit(budget: dict[str, float], parent: Artifact) -> tuple[float, str]:
    """(limit, unit) of a suite's budget; a share of the teacher's training is given in its evaluations."""
    (unit, amount), *_ = budget.items()
    if unit != "teacher":
        return amount, unit
    training = parent.answer(TeacherResult).ledger
    assert training is not None
    return amount * training.evaluations, "evaluations"


def _limit(task: Context[TrainParams]) -> tuple[float, str]:
    """What this run may spend: the budget, or a trial's part of it, less what choosing between the trials will take."""
    parent, shared = task.inputs["teacher"], task.params.shared
    whole, unit = limit(task.params.budget, parent)
    if shared is None:
        return whole, unit
    measured = parent.answer(TeacherResult)
    evaluation = measured.flops_per_evaluation
    guided = (1 if task.params.guidance is None else 2) * evaluation + measured.classifier_flops
    flops = shared.nfe * guided + task.inputs["extractor"].answer(ExtractorResult).flops_per_image
    choosing = shared.samples * flops / (1 if unit == "flops" else evaluation)
    part = whole / shared.trials - choosing
    if part <= 0:
        message = f"choosing costs {choosing:.6g} {unit} a trial, and each has {whole / shared.trials:.6g}"
        raise OutOfBudget(f"{message}; lower samples or nfe of tune")
    return part, unit


def build(name: str, options: dict[str, Any], denoiser: Denoiser, seed: int = 0, nfe: int | None = None) -> Method:
    """The method `name` on a teacher, untrained; `nfe` for a method that is trained per NFE."""
    spec = registry.method(name)
    if isinstance(spec, SolverSpec):
        return TrainingFree(denoiser, solvers.get(name, **options))
    per_nfe = {"nfe": nfe} if spec.per_nfe else {}
    method: Method = spec.load()(denoiser, spec.options.model_validate(options), seed=seed, **per_nfe)
    return method


def load(artifact: Artifact, denoiser: Denoiser, transfer: bool = False) -> Method:
    """The trained method of an artifact, on its teacher or, with `transfer`, on another of the same path."""
    try:
        return saved.load(artifact.file(WEIGHTS), denoiser, transfer)
    except saved.MismatchError as error:
        raise TaskError(str(error)) from None
