"""A network that somebody else trained."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from ..base import HIGHEST, LOWEST, METHODS
from .base import TeacherOptions, TeacherSpec


class CheckpointOptions(TeacherOptions):
    """A network that somebody else trained, from a file in EDM's form (Karras et al. 2022)."""

    name: Literal["checkpoint"] = Field("checkpoint", description="Chooses this kind of teacher.")
    file: str = Field(
        description="A .pkl as NVlabs/edm publishes it, a .safetensors with its configuration in the header or in a "
        ".json beside it, or a name that `fewstep doctor` lists."
    )
    sigma_min: float = Field(
        0.002,
        ge=LOWEST,
        le=HIGHEST,
        description="Smallest noise level that solvers go to, at least the network's own. EDM: 0.002.",
    )
    sigma_max: float = Field(
        80.0,
        ge=LOWEST,
        le=HIGHEST,
        description="Largest noise level, where solvers start, at most the network's own. EDM: 80.",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout of students that copy the network; 0 in consistency distillation."
    )

    def default_label(self) -> str:
        return Path(self.file).stem


SPEC = TeacherSpec(
    name="checkpoint",
    target=f"{METHODS}.teachers.checkpoint:denoiser",
    options=CheckpointOptions,
    summary="a network that somebody else trained, from a file in EDM's form (Karras et al. 2022)",
    papers=("karras2022elucidating",),
)
