"""The networks that the package ships: which one a suite means, and whether it is whole. No torch."""

import json

from ...datasets import frozen
from ...datasets.frozen.register import NETWORKS, FrozenNetwork
from ...methods.missing import Missing
from ...methods.options import Options
from ...methods.specs.teachers.shipped import ShippedOptions
from .. import published_files
from ..errors import InputError

REINSTALL = "pip install --force-reinstall fewstep"


def teacher(options: Options) -> FrozenNetwork | None:
    """The network of a shipped teacher; None for another teacher. KeyError for a name that is not shipped."""
    return NETWORKS[options.file] if isinstance(options, ShippedOptions) else None


def fault(network: FrozenNetwork) -> Missing | None:
    """What is wrong with the network's file, None if it is the one that was shipped."""
    path = frozen.path(network.name)
    if not path.is_file():
        return Missing(str(path), REINSTALL)
    if (found := published_files.sha256(path)) != network.sha256:
        what = f"{path} (not as shipped: its SHA-256 is {found[:8]}, not {network.sha256[:8]})"
        return Missing(what, REINSTALL, "wrong hash")
    return None


def identity(network: FrozenNetwork | None) -> dict[str, str]:
    """What a task knows of the network that it reads, empty for None. InputError if the file was changed."""
    if network is None:
        return {}
    if (reason := fault(network)) is not None:
        raise InputError(str(reason))
    return {"file": network.name, "sha256": network.sha256}


def training(network: FrozenNetwork) -> float:
    """What training the teacher took, in its own evaluations."""
    return float(json.loads(frozen.facts(network.name)["ledger"])["evaluations"])
