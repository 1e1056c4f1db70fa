"""One training run of one method under the budget."""

from typing import Any

from ...methods import registry, saved, solvers
from ...methods.denoiser import Denoiser
from ...methods.method import Method, TrainingFree
from ...methods.specs.solver import SolverSpec
from ..errors import OUT_OF_BUDGET, TaskError
from ..store import Artifact
from ..training.ledger import Ledger
from ..training.loop import DivergedError, fit
from ..training.tracking import tracked
from . import extractor, teacher
from .context import Context
from .data import load as load_data
from .device import accelerator

WEIGHTS = "student.safetensors"


def run(task: Context) -> dict[str, Any]:
    params, parent = task.params, task.inputs["teacher"]
    denoiser = teacher.load(parent, params.get("guidance"))
    module = build(params["method"], params["options"], denoiser, params["seed"], params.get("nfe"))
    if "extractor" in task.inputs:
        module.quality = extractor.quality(task.inputs["extractor"])
    ledger = Ledger(*_limit(task), parent.result["flops_per_evaluation"])
    data = load_data(parent.manifest["params"])
    trainable = module.trainable_count()
    status = "done"
    with tracked(task.folder, task.key, task.label, params["method"], params) as record:
        try:
            fit(
                module,
                data,
                params["seed"],
                ledger,
                task.folder,
                record,
                task.on_progress,
                accelerator(params["device"]),
            )
            options = registry.method(params["method"]).options.model_validate(params["options"])
            saved.save(module, params["method"], options, task.folder / WEIGHTS, params.get("nfe"))
        except DivergedError as error:
            status = f"diverged: {error}"
    learned = module.learned() if status == "done" else []
    return {"status": status, "trainable_parameters": trainable, "ledger": ledger.to_dict(), "learned": learned}


def limit(budget: dict[str, float], parent: Artifact) -> tuple[float, str]:
    """(limit, unit) of a suite's budget; a share of the teacher's training is given in its evaluations."""
    (unit, amount), *_ = budget.items()
    if unit != "teacher":
        return amount, unit
    return amount * parent.result["ledger"]["evaluations"], "evaluations"


def _limit(task: Context) -> tuple[float, str]:
    """What this run may spend: the budget, or a trial's part of it, less what choosing between the trials will take."""
    parent, shared = task.inputs["teacher"], task.params.get("shared")
    whole, unit = limit(task.params["budget"], parent)
    if shared is None:
        return whole, unit
    forwards = shared["nfe"] * (1 if task.params.get("guidance") is None else 2)
    flops = forwards * parent.result["flops_per_evaluation"] + task.inputs["extractor"].result["flops_per_image"]
    choosing = shared["samples"] * flops / (1 if unit == "flops" else parent.result["flops_per_evaluation"])
    part = whole / shared["trials"] - choosing
    if part <= 0:
        message = f"choosing costs {choosing:.6g} {unit} a trial, and each has {whole / shared['trials']:.6g}"
        raise TaskError(f"{OUT_OF_BUDGET}: {message}; lower samples or nfe of tune")
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
