"""The rule set "tuned": the best of the trials that shared a budget, charged for all of them and for the choice."""

import math
import shutil
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..errors import OUT_OF_BUDGET, TaskError
from ..metrics.frechet import frechet_distance
from ..store import Artifact
from ..training.ledger import Ledger
from . import extractor, teacher, train
from .context import Context
from .device import accelerator
from .sample import batches, sampler

NOISES = "-selection"
ROUNDING = 1e-9


def run(task: Context) -> dict[str, Any]:
    """What a training run gives, of the trial chosen, with "trials": each one's options and what it was chosen by."""
    trials = [task.inputs[f"trial {j}"] for j in range(sum(role.startswith("trial ") for role in task.inputs))]
    found, flops = zip(*(_distance(task, trial) for trial in trials), strict=True)
    ledger = _ledger(task, trials, sum(flops))
    if ledger.spent > 1 + ROUNDING:
        raise TaskError(f"{OUT_OF_BUDGET}: trials and choice cost {ledger.spent:.4g} of the budget")
    chosen = min(range(len(trials)), key=found.__getitem__)
    result = {
        "ledger": ledger.to_dict(),
        "chosen": chosen,
        "trials": [
            {"options": trial.manifest["params"]["options"], "status": trial.result["status"], "distance": repr(value)}
            for trial, value in zip(trials, found, strict=True)
        ],
    }
    if not math.isfinite(found[chosen]):
        return {**result, "status": "diverged: every trial", "trainable_parameters": 0, "learned": []}
    shutil.copyfile(trials[chosen].file(train.WEIGHTS), task.folder / train.WEIGHTS)
    best = trials[chosen].result
    return {**result, **{key: best[key] for key in ("status", "trainable_parameters", "learned")}}


def _distance(task: Context, trial: Artifact) -> tuple[float, float]:
    """(Fréchet distance of a trial's samples to the data, infinite where there are none; FLOPs of the networks)."""
    if trial.result["status"] != "done":
        return math.inf, 0
    params, parent = task.params, task.inputs["teacher"]
    method = train.load(trial, teacher.load(parent, params.get("guidance"))).to(accelerator(params["device"])).eval()
    make = sampler(method, params["seed"], params["nfe"], teacher.sample_shape(parent), NOISES)
    network, reference = extractor.load(task.inputs["extractor"])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        features = extractor.features(network, batches(params["samples"], make, task.on_progress))
    distance = frechet_distance(reference, features) if features.isfinite().all() else math.inf
    return distance, counter.get_total_flops()


def _ledger(task: Context, trials: list[Artifact], choosing: float) -> Ledger:
    """All that was spent, by use; `choosing` is in FLOPs."""
    parent = task.inputs["teacher"]
    ledger = Ledger(*train.limit(task.params["budget"], parent), parent.result["flops_per_evaluation"])
    for spent in (trial.result["ledger"] for trial in trials):
        for key in ("flops", "images", "steps", "seconds"):
            setattr(ledger, key, getattr(ledger, key) + spent[key])
        ledger.uses |= {use: ledger.uses.get(use, 0) + flops for use, flops in spent["uses"].items()}
        for kind, peak in spent["peak_bytes"].items():
            ledger.peak_bytes[kind] = max(ledger.peak_bytes.get(kind, 0), peak)
    ledger.flops += choosing
    ledger.uses["selection"] = ledger.uses.get("selection", 0) + choosing
    return ledger
