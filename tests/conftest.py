"""Shared fixtures. The authors' numbers are read from FEWSTEP_REFERENCE (default: tests/reference)."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fewstep.methods.paths import Path as NoisePath
from fewstep.methods.teachers.analytic import GaussianDenoiser, MixtureDenoiser
from fewstep.tests.offline import offline

os.environ.setdefault("WANDB_MODE", "disabled")
REFERENCE = Path(os.environ.get("FEWSTEP_REFERENCE", Path(__file__).parent / "reference"))


def pytest_configure() -> None:
    """Each of xdist's processes has cores of its own, as have those it starts: OpenMP's threads of two that share
    theirs wait for each other, which takes several times as long.
    """
    index, count = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if index and hasattr(os, "sched_setaffinity"):
        own = sorted(os.sched_getaffinity(0))[int(index.removeprefix("gw")) :: count]
        os.sched_setaffinity(0, own or os.sched_getaffinity(0))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


LONG = ("test_plugins.py", "test_readme.py", "test_suite_fuzz.py")
"""Files that take a minute or two and would come last: one process would be left alone with them."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    with offline():
        yield


class Arrays:
    """A reference file: float64 tensors by name, and each entry's metadata."""

    def __init__(self, file: Path) -> None:
        self._arrays = np.load(file, allow_pickle=False)
        self.names: list[str] = [name for name in self._arrays.files if name != "__meta__"]
        self.meta: dict[str, Any] = {}
        if "__meta__" in self._arrays.files:
            self.meta = json.loads(str(self._arrays["__meta__"]))

    def __getitem__(self, name: str) -> Tensor:
        return torch.as_tensor(self._arrays[name])

    def __contains__(self, name: str) -> bool:
        return name in self._arrays.files


@pytest.fixture(scope="session")
def reference():
    """reference("distill/paths") -> Arrays."""

    def load(name: str) -> Arrays:
        return Arrays(REFERENCE / f"{name}.npz")

    return load


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    return REFERENCE


@pytest.fixture(scope="session")
def toy(reference) -> Arrays:
    """The distillation references' toy problem."""
    return reference("distill/toy")


@pytest.fixture(scope="session")
def toy_mixture(toy):
    """path -> the toy problem's exact mixture denoiser."""
    return lambda path: MixtureDenoiser(toy["gmm_w"], toy["gmm_mu"], toy["gmm_var"], path)


@pytest.fixture(scope="session")
def toy_gaussian(toy):
    return lambda path: GaussianDenoiser(toy["gauss_mean"], toy["gauss_var"], path)


@pytest.fixture(scope="session")
def problem(reference) -> Arrays:
    """The solver references' toy problem."""
    return reference("solvers/problem")


@pytest.fixture(scope="session")
def laws(problem):
    """(law name, path) -> exact denoiser of the solver references' two laws, "gmm" and "gauss"."""

    def denoiser(law: str, path: NoisePath):
        if law == "gmm":
            return MixtureDenoiser(problem["gmm_weights"], problem["gmm_means"], problem["gmm_stds"] ** 2, path)
        return GaussianDenoiser(problem["gauss_mean"], problem["gauss_std"] ** 2, path)

    return denoiser
