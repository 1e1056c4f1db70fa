"""What methods and solvers are checked on: tiny frozen teachers, noises, and how a row is made from its spec."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from .... import datasets
from ....datasets.base import Dataset
from ....methods import networks
from ....methods.denoiser import Denoiser, EDMDenoiser
from ....methods.method import Method, TrainingFree
from ....methods.options import Options
from ....methods.paths import EDM
from ....methods.randomness import noise, seeded
from ....methods.solvers.base import Solver
from ....methods.specs.base import MethodSpec
from ....methods.specs.solver import SolverSpec

NETWORKS: dict[str, dict[str, Any]] = {
    "mixture-2d": {"name": "mlp", "width": 16, "blocks": 1},
    "digits": {"name": "unet", "channels": 8, "multipliers": (1, 2)},
}
"""By data set, the network of the tiny teacher."""


def teacher(data: Dataset, conditional: bool = False) -> Denoiser:
    """A frozen denoiser with EDM's preconditioning and fixed random weights; what a check needs asks for no better."""
    with seeded(0, torch.device("cpu")):
        network = networks.build(NETWORKS[data.name], data.shape, data.classes if conditional else 0)
        for layer in network.modules():
            if layer.__dict__.get("starts_at_zero"):
                nn.init.normal_(cast(nn.Linear | nn.Conv2d, layer).weight, std=0.03)
    denoiser = EDMDenoiser(network, 0.75, EDM(0.01, 40.0))
    denoiser.sample_shape, denoiser.sample_bound = data.shape, data.bound
    if conditional:
        labels = data.labels(torch.arange(len(data)))
        assert labels is not None
        denoiser.class_counts = tuple(torch.bincount(labels, minlength=data.classes).tolist())
    return denoiser.requires_grad_(False).eval()


def load_data(name: str) -> Dataset:
    """The embedded data set that the tiny teacher is for."""
    return datasets.get(name)


def is_solver(spec: MethodSpec) -> bool:
    """Whether the method has nothing to train."""
    return not spec.trains


def solver(spec: MethodSpec, options: Options) -> Any:
    """The solver that the spec describes; one without a rule is adaptive."""
    assert isinstance(spec, SolverSpec)
    if spec.rule is None:
        return spec.load()(**options.model_dump())
    return Solver(spec.name, spec.load(), spec.rule, options, spec.order, spec.inner_nodes, spec.stays)


def method(spec: MethodSpec, options: Options, denoiser: Denoiser, nfe: int | None = None, seed: int = 0) -> Method:
    """The row on a teacher, untrained; nfe: what a method that is trained per NFE is made for."""
    if is_solver(spec):
        return TrainingFree(denoiser, solver(spec, options))
    per_nfe = {"nfe": nfe} if spec.per_nfe else {}
    made: Method = spec.load()(denoiser, options, seed=seed, **per_nfe)
    return made


def sampled(row: Method, nfe: int, rows: Sequence[int], seed: int = 0) -> Tensor:
    """The samples `rows` of `seed` (len(rows), ...), from the noises, labels and draws that every method is given."""
    denoiser = row.teacher
    assert denoiser.sample_shape is not None
    shape = denoiser.sample_shape
    with torch.no_grad():
        x0: Tensor = row.predict_step(
            {
                "noise": noise(seed, "start", rows, shape),
                "nfe": nfe,
                "condition": denoiser.conditions(seed, "label", rows),
                "draws": lambda j: noise(seed, f"draw-{j}", rows, shape),
            },
            0,
        )
    return x0
