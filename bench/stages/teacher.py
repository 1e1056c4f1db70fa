"""The teacher: trained once and kept, or a closed form."""

from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ...datasets.registry import DATASETS
from ...methods.denoiser import Denoiser, Guided
from ...methods.options import ExactOptions, PretrainOptions
from ...methods.paths import EDM
from ...methods.randomness import noise
from ...methods.teachers import pretrain
from ...methods.teachers.analytic import MixtureDenoiser, ideal_denoiser
from ..budget import Ledger, forward_flops
from ..store import Artifact
from ..tracking import tracked
from ..training import fit
from .context import Context
from .data import load as load_data
from .device import accelerator

WEIGHTS = "teacher.safetensors"


def run(task: Context) -> dict[str, Any]:
    data = load_data(task.params)
    options = task.params["teacher"]
    if options["name"] == "exact":
        exact = _exact(ExactOptions.model_validate(options), data)
        return {"flops_per_evaluation": forward_flops(exact, noise(0, "probe", range(2), data.shape)), "parameters": 0}
    checked = PretrainOptions.model_validate(options)
    module = pretrain.Pretrain(checked, data.shape, data.classes)
    probe = noise(0, "probe", range(2), data.shape)
    unit = forward_flops(module.denoiser, probe)
    ledger = Ledger(checked.images, "images", unit)
    with tracked(task.folder, task.key, task.label, "teacher", task.params) as record:
        fit(
            module,
            data,
            checked.seed,
            ledger,
            task.folder,
            record,
            task.on_progress,
            accelerator(task.params["device"]),
        )
    save_file(module.result().state_dict(), task.folder / WEIGHTS)
    parameters = sum(p.numel() for p in module.denoiser.parameters())
    return {"flops_per_evaluation": unit, "parameters": parameters, "ledger": ledger.to_dict()}


def load(artifact: Artifact, guidance: float | None = None) -> Denoiser:
    """The teacher of an artifact, frozen, on the CPU; guided with that scale unless None."""
    params = artifact.manifest["params"]
    data = load_data(params)
    denoiser = _made(artifact, params, data)
    denoiser.sample_shape, denoiser.sample_bound = data.shape, data.bound
    if params["teacher"].get("label_dropout") is not None:
        labels = data.labels(torch.arange(len(data)))
        assert labels is not None
        denoiser.class_counts = tuple(torch.bincount(labels, minlength=data.classes).tolist())
    if guidance is not None:
        denoiser = Guided(denoiser, guidance)
    return denoiser.requires_grad_(False).eval()


def _made(artifact: Artifact, params: dict[str, Any], data: Any) -> Denoiser:
    if params["teacher"]["name"] == "exact":
        return _exact(ExactOptions.model_validate(params["teacher"]), data)
    denoiser = pretrain.denoiser(PretrainOptions.model_validate(params["teacher"]), data.shape, data.classes)
    denoiser.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return denoiser


def _exact(options: ExactOptions, data: Any) -> Denoiser:
    path = EDM(options.sigma_min, options.sigma_max)
    if hasattr(data, "means"):
        return MixtureDenoiser(data.weights, data.means, data.stds**2 + options.bandwidth**2, path)
    return ideal_denoiser(data.samples(torch.arange(len(data))), path, options.bandwidth)


def sample_shape(artifact: Artifact) -> tuple[int, ...]:
    """The shape of one sample of the teacher's data set."""
    return DATASETS[artifact.manifest["params"]["dataset"]].shape
