"""The rule set "tuned": the best of the trials that shared a budget, charged for all of them and for the choice."""

import math
import shutil

import torch

from ...methods.computing import computed
from ...methods.denoiser import networks
from ...reports.status import Kind, Status
from ..errors import OutOfBudget
from ..metrics.frechet import frechet_distance
from ..plan.kinds import RunLedger, TeacherResult, Trained, TrainParams, Trial, Tuned, TuneParams, trial_role
from ..store import Artifact
from ..training.counting import Counted
from ..training.ledger import Ledger
from . import extractor, teacher, train
from .context import Context
from .device import accelerator
from .sample import batches, sampler

NOISES = "-selection"
ROUNDING = 1e-9


def run(task: Context[TuneParams]) -> Tuned:
    """What a training run gives, of the trial chosen, with the trials' options and what they were chosen by."""
    trials = [task.inputs[trial_role(j)] for j in range(task.params.trials)]
    found, flops = zip(*(_distance(task, trial) for trial in trials), strict=True)
    ledger = _ledger(task, trials, sum(flops))
    if ledger.spent > 1 + ROUNDING:
        raise OutOfBudget(f"trials and choice cost {ledger.spent:.4g} of the budget")
    chosen = min(range(len(trials)), key=found.__getitem__)
    judged = [
        Trial(status=trial.answer(Trained).status, options=trial.asked(TrainParams).options, distance=repr(value))
        for trial, value in zip(trials, found, strict=True)
    ]
    result = Tuned(
        status=Status(Kind.DIVERGED, "every trial"),
        trainable_parameters=0,
        ledger=RunLedger.model_validate(ledger.to_dict()),
        chosen=chosen,
        trials=judged,
    )
    if not math.isfinite(found[chosen]):
        return result
    shutil.copyfile(trials[chosen].file(train.WEIGHTS), task.folder / train.WEIGHTS)
    best = trials[chosen].answer(Trained)
    kept = {key: getattr(best, key) for key in ("status", "trainable_parameters", "learned")}
    return result.model_copy(update=kept)


def _distance(task: Context[TuneParams], trial: Artifact) -> tuple[float, float]:
    """(Fréchet distance of a trial's samples to the data, infinite where there are none; FLOPs of the networks)."""
    if not trial.answer(Trained).status.done:
        return math.inf, 0
    params, parent = task.params, task.inputs["teacher"]
    denoiser = teacher.load(task.inputs, params.guidance, params.labels)
    method = train.load(trial, denoiser).to(accelerator(params.device)).eval()
    make = sampler(method, params.seed, params.nfe, teacher.sample_shape(parent), NOISES)
    network, reference = extractor.load(task.inputs["extractor"])
    computing = computed(networks(method), **params.computing)
    with torch.no_grad(), computing, Counted() as counted:
        features = extractor.features(network, batches(params.samples, make, task.on_progress))
    distance = frechet_distance(reference, features) if features.isfinite().all() else math.inf
    return distance, counted.flops


def _ledger(task: Context[TuneParams], trials: list[Artifact], choosing: float) -> Ledger:
    """All that was spent, by use; `choosing` is in FLOPs."""
    parent = task.inputs["teacher"]
    evaluation = parent.answer(TeacherResult).flops_per_evaluation
    ledger = Ledger(*train.limit(task.params.budget, parent), evaluation)
    for spent in (trial.answer(Trained).ledger for trial in trials):
        for key in ("flops", "images", "steps", "seconds"):
            setattr(ledger, key, getattr(ledger, key) + getattr(spent, key))
        ledger.uses |= {use: ledger.uses.get(use, 0) + flops for use, flops in spent.uses.items()}
        for kind, peak in spent.peak_bytes.items():
            ledger.peak_bytes[kind] = max(ledger.peak_bytes.get(kind, 0), peak)
    ledger.flops += choosing
    ledger.uses["selection"] = ledger.uses.get("selection", 0) + choosing
    return ledger
