"""Makes the frozen networks of datasets/frozen from what a suite has trained.

Run as `fewstep run SUITE --workers 1`, then `python -m fewstep.bench.benchmarks.freeze SUITE runs/store`, where SUITE
is from-scratch or scenes-from-scratch.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from safetensors.torch import load_file

from ... import datasets
from ...datasets import frozen
from ...datasets.base import ImageSet
from ...datasets.frozen.register import NETWORKS, FrozenNetwork
from ...datasets.registry import DATASETS
from ...methods import weights_file
from ...methods.specs.teachers.pretrain import PretrainOptions
from .. import published_files as weights
from ..plan.cells import make_plan
from ..stages import extractor, teacher
from ..store import Artifact, Store
from ..suite.loading import load

SUITES = {"digits": "from-scratch", "scenes": "scenes-from-scratch"}
"""By data set."""
FORMAT = "fewstep-frozen-1"
LEDGER = ("evaluations", "flops", "images", "steps")
"""What of a ledger is the same for every run of the same training."""


def freeze(network: FrozenNetwork, artifact: Artifact, file: Path) -> None:
    """Write the trained network of an artifact with its provenance: the same bytes for the same training."""
    describe, weights_name = ROLES[network.role]
    data = datasets.get(network.dataset)
    assert isinstance(data, ImageSet)
    environment = artifact.manifest["environment"]
    facts = {
        "format": FORMAT,
        "role": network.role,
        "suite": SUITES[network.dataset],
        "dataset": network.dataset,
        "pixels": data.pixels_sha256(),
        "fewstep": environment["fewstep"],
        "torch": environment["torch"],
        **{key: json.dumps(value, sort_keys=True) for key, value in describe(artifact).items()},
    }
    weights_file.save(load_file(artifact.file(weights_name)), file, facts)


def _teacher(artifact: Artifact) -> dict[str, Any]:
    options = PretrainOptions.model_validate(artifact.manifest["params"]["teacher"])
    ledger = artifact.result["ledger"]
    return {"options": options.model_dump(mode="json"), "ledger": {name: ledger[name] for name in LEDGER}}


def _classifier(artifact: Artifact) -> dict[str, Any]:
    recipe = DATASETS[artifact.manifest["params"]["dataset"]].recipe()
    accuracy = {name: artifact.result[name] for name in ("held_out", "held_out_accuracy")}
    return {"options": recipe.options(), "ledger": artifact.result["training"], **accuracy}


ROLES: dict[str, tuple[Callable[[Artifact], dict[str, Any]], str]] = {
    "teacher": (_teacher, teacher.WEIGHTS),
    "classifier": (_classifier, extractor.WEIGHTS),
    "scorer": (_classifier, extractor.WEIGHTS),
}


@click.command()
@click.argument("suite", type=click.Choice(sorted(SUITES.values())))
@click.argument("store", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write to [default: datasets/frozen].")
def main(suite: str, store: Path, out: Path | None) -> None:
    """Freeze the teacher and the classifier or scorer that SUITE has left in STORE."""
    made = {task.kind: task.name for task in make_plan(load(suite)).tasks() if task.kind in ("teacher", "extractor")}
    for network in (network for network in NETWORKS.values() if SUITES[network.dataset] == suite):
        file = (out or frozen.FOLDER) / (network.name + frozen.SUFFIX)
        artifact = Store(store).get(made["teacher" if network.role == "teacher" else "extractor"])
        if artifact is None:
            raise click.ClickException(f"{store} has no {network.role} of this code; first `fewstep run {suite}`")
        freeze(network, artifact, file)
        digest = weights.sha256(file)
        state = "as pinned" if digest == network.sha256 else "pin it in datasets/frozen/register.py"
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB, SHA-256 {digest}, {state}")


if __name__ == "__main__":
    main()
