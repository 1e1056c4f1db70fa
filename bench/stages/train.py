"""One training run of one method under the budget."""

from typing import Any

from safetensors.torch import load_file, save_file

from ... import datasets
from ...methods import registry, solvers
from ...methods.denoiser import Denoiser
from ...methods.method import Method, TrainingFree
from ..budget import Ledger
from ..store import Artifact
from ..tracking import tracked
from ..training import DivergedError, fit
from . import teacher
from .context import Context
from .device import accelerator

WEIGHTS = "student.safetensors"


def run(task: Context) -> dict[str, Any]:
    params, parent = task.params, task.inputs["teacher"]
    module = build(params["method"], params["options"], teacher.load(parent), params["seed"], params.get("nfe"))
    (unit, limit), *_ = params["budget"].items()
    ledger = Ledger(limit, unit, parent.result["flops_per_evaluation"])
    data = datasets.get(parent.manifest["params"]["dataset"])
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
            save_file(module.result().state_dict(), task.folder / WEIGHTS)
        except DivergedError as error:
            status = f"diverged: {error}"
    return {"status": status, "trainable_parameters": trainable, "ledger": ledger.to_dict()}


def build(name: str, options: dict[str, Any], denoiser: Denoiser, seed: int = 0, nfe: int | None = None) -> Method:
    """The method `name` on a teacher, untrained; `nfe` for a method that is trained per NFE."""
    if name in registry.SOLVERS:
        return TrainingFree(denoiser, solvers.get(name, **options))
    spec = registry.method(name)
    per_nfe = {"nfe": nfe} if spec.per_nfe else {}
    method: Method = spec.load()(denoiser, spec.options.model_validate(options), seed=seed, **per_nfe)
    return method


def load(artifact: Artifact, denoiser: Denoiser) -> Method:
    """The trained method of an artifact."""
    params = artifact.manifest["params"]
    method = build(params["method"], params["options"], denoiser, params["seed"], params.get("nfe"))
    method.result().load_state_dict(load_file(artifact.file(WEIGHTS)))
    return method
