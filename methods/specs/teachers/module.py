"""A network of one's own, from a function in one's own code."""

import hashlib
import os
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from ...missing import Missing
from ..base import HIGHEST, LOWEST, METHODS
from .base import TeacherOptions, TeacherSpec


class ModuleOptions(TeacherOptions):
    """A network of one's own: what a function in one's own code returns. That code runs."""

    name: Literal["module"] = Field("module", description="Chooses this kind of teacher.")
    target: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        description="`package.module:function` on Python's path. The function is called with kwargs and returns a "
        "Denoiser, or a network and what is to be known of it: docs/extend.md.",
    )
    weights: str | None = Field(
        None, description="File of the network's state dict: .safetensors, or what torch.save writes of tensors alone."
    )
    kwargs: dict[str, Any] = Field({}, description="Arguments of the function.")
    labels: bool = Field(False, description="Whether the network takes the labels of the suite's data set.")
    sigma_min: float = Field(
        0.002,
        ge=LOWEST,
        le=HIGHEST,
        description="Smallest noise level that solvers go to, at least the network's own.",
    )
    sigma_max: float = Field(
        80.0,
        ge=LOWEST,
        le=HIGHEST,
        description="Largest noise level, where solvers start, at most the network's own.",
    )

    @field_validator("target")
    @classmethod
    def _is_on_the_path(cls, target: str) -> str:
        _source(target)
        return target

    @property
    def conditional(self) -> bool:
        return self.labels

    def default_label(self) -> str:
        return self.target.partition(":")[2]

    def identity(self) -> dict[str, str]:
        """The source file and the weights, by their hashes; target and kwargs are among the options."""
        files = {"source": _source(self.target), **({"weights": Path(self.weights)} if self.weights else {})}
        return {
            name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items() if os.path.isfile(file)
        }

    def missing(self) -> Missing | None:
        if self.weights is None or os.path.isfile(self.weights):
            return None
        return Missing(self.weights, "your own training")


def _source(target: str) -> Path:
    """The file of the module that `target` names. ValueError if there is none."""
    module = target.partition(":")[0]
    try:
        found: ModuleSpec | None = find_spec(module)
    except Exception as error:
        # What a package does when it is imported is its own affair.
        raise ValueError(f"module {module!r} cannot be found: {' '.join(str(error).split())[:200]}") from None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise ValueError(f"no module {module!r} on Python's path: install it, or name its folder in PYTHONPATH")
    return Path(found.origin)


SPEC = TeacherSpec(
    name="module",
    target=f"{METHODS}.teachers.module:denoiser",
    options=ModuleOptions,
    summary="a network of your own, from a function in your own code, which runs",
)
