"""`fewstep doctor`: what a suite needs from this machine. No torch."""

from importlib.util import find_spec

from .suite import Suite
from .tracking import wandb_mode

PACKAGES = ("torch", "pytorch_lightning", "sklearn", "seaborn", "wandb")


def findings(suite: Suite | None) -> list[tuple[str, str, str]]:
    """(what, "present" or "missing" or a setting, how to get it) for every need of the suite."""
    found = [
        (f"package {name}", *(("present", "") if find_spec(name) else ("missing", f"pip install {name}")))
        for name in PACKAGES
    ]
    found.append(("W&B", wandb_mode(), "set WANDB_MODE to change it"))
    for dataset in suite.datasets if suite else ():
        found.append((f"dataset {dataset}", "present", "embedded"))
    return found
