"""`fewstep doctor`: what a suite needs from this machine. No torch."""

from importlib.util import find_spec

from ..datasets.facts import ArchiveError, check
from ..datasets.registry import DATASETS, DatasetSpec
from . import weights
from .plan import Problem
from .suite import Suite
from .tracking import wandb_mode

PACKAGES = {
    "torch": "torch",
    "pytorch-lightning": "pytorch_lightning",
    "scikit-learn": "sklearn",
    "seaborn": "seaborn",
    "wandb": "wandb",
}
"""What pip calls a package, and what Python does."""


FAULTS = ("missing", "wrong hash", "wrong count", "wrong preprocessing")
"""The states in which something cannot be used as it is named."""


def findings(suite: Suite | None) -> list[tuple[str, str, str]]:
    """(what, "present" or one of FAULTS or a setting, how to get it) for every need of the suite.

    Without a suite, of everything that some suite may need: what is not here is "absent" then.
    """
    found = [
        (f"package {name}", *(("present", "") if find_spec(module) else ("missing", f"pip install {name}")))
        for name, module in PACKAGES.items()
    ]
    found.append(("W&B", wandb_mode(), "set WANDB_MODE to change it"))
    if suite is None:
        return found + _datasets() + _weights()
    for dataset in suite.datasets:
        found.append((f"dataset {dataset}", *_dataset(DATASETS[dataset])))
    for metric, reason in _unmeasured(suite).items():
        found.append((f"metric {metric}", "missing", reason.removeprefix("missing ")))
    for entry in suite.methods:
        if (missing := entry.checked().missing()) is not None:
            found.append((f"method {entry.name} {entry.label()}", "missing", missing.removeprefix("missing ")))
    return found


def _weights() -> list[tuple[str, str, str]]:
    """Every file that some metric needs: optional as long as no suite asks for it."""
    found = []
    for name, file in weights.REGISTER.items():
        reason = weights.missing(name)
        facts = f"licence: {file.licence}; for {', '.join(file.needed_by)}"
        state, advice = ("absent", f"{reason.partition('get it ')[2]}; ") if reason else ("present", "")
        found.append((f"file {name}", state, advice + facts))
    return found


def _unmeasured(suite: Suite) -> dict[str, str]:
    """What metrics of the suite lack here."""
    return {m: why for name in suite.datasets for m, why in Problem(suite, name, suite.teachers[0]).unmeasured.items()}


def _datasets() -> list[tuple[str, str, str]]:
    """Every data set: optional as long as no suite asks for it."""
    states = ((name, *_dataset(spec)) for name, spec in DATASETS.items())
    return [(f"dataset {name}", "absent" if state == "missing" else state, advice) for name, state, advice in states]


def _dataset(spec: DatasetSpec) -> tuple[str, str]:
    """(state, advice) of a data set. Of its archive the directory is read, not the images."""
    if not spec.archive:
        return "present", "embedded"
    path = spec.path()
    if spec.missing() is not None:
        return "missing", f"{path}; {spec.how_to_get()}"
    try:
        facts = check(path)
    except (ArchiveError, OSError) as error:
        return "wrong hash", str(error)
    expected = spec.source.preprocessing if spec.source else "none"
    if (found := facts.get("preprocessing", "none")) != expected:
        return "wrong preprocessing", f"{path} was made by {found}, {spec.name} is made by {expected}"
    if facts["count"] != spec.size:
        return "wrong count", f"{path} has {facts['count']} images, {spec.name} has {spec.size}"
    if (captions := facts.get("captions", {}).get("count", 0)) != spec.captions:
        return "wrong count", f"{path} has {captions} captions, {spec.name} has {spec.captions}"
    return "present", f"{path}; licence: {spec.licence}{spec.known_statistics()}"
