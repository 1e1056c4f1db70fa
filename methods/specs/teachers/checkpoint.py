"""A network that somebody else trained."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ..base import HIGHEST, LOWEST, METHODS, Options
from .base import TeacherOptions, TeacherSpec

Form = Literal["auto", "edm", "openai", "ddpm", "score-sde", "torchcfm", "diffusers", "flax-pd", "fewstep"]


class ClassifierOptions(Options):
    """A classifier of noisy images, which guides a network: eps <- eps - scale sigma grad_x log p(label | x, t)."""

    file: str = Field(
        description="A `*_classifier.pt` of guided-diffusion, a .safetensors with its configuration in the header or "
        "in a .json beside it, or a name that `fewstep doctor` lists."
    )
    scale: float = Field(
        1.0,
        ge=0,
        le=HIGHEST,
        description="Scale of the gradient (Dhariwal & Nichol 2021). ADM: 0.5 to 10, by resolution and sampler.",
    )
    config: dict[str, Any] | str | None = Field(
        None,
        description="What the file leaves out, or a JSON file of it; known for published files. `schedule` and "
        "`labels` say on what noise it was trained; without them on the guided network's.",
    )


class CheckpointOptions(TeacherOptions):
    """A network that somebody else trained, from a file in one of the forms in which such networks are published."""

    name: Literal["checkpoint"] = Field("checkpoint", description="Chooses this kind of teacher.")
    file: str = Field(
        description="A file as its authors publish it (docs/checkpoints.md has the table), a .safetensors with its "
        "configuration in the header or in a .json beside it, or a name that `fewstep doctor` lists."
    )
    form: Form = Field("auto", description="Whose code wrote the file. auto: told by the names of its tensors.")
    config: dict[str, Any] | str | None = Field(
        None,
        description="What the file leaves out, in its authors' words, or a JSON file of it; known for published files.",
    )
    label_scale: Literal["trained", "official-dode"] | float = Field(
        "trained",
        description="What the label n is multiplied by before the network. trained: as its authors did, 1000/4000 for "
        "two of improved-diffusion's. official-dode: 1, as D-ODE's released code feeds it to DDIM.",
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
    classifier: ClassifierOptions | None = Field(
        None,
        description="A classifier that guides the network towards labels, which are then drawn as for a network that "
        "knows them. An evaluation takes its forward and backward too, and budgets are charged for it.",
    )

    @property
    def conditional(self) -> bool:
        """Known before the file is read where a classifier guides it."""
        return self.classifier is not None

    def default_label(self) -> str:
        guided = "" if self.classifier is None else f"-g{self.classifier.scale:.12g}"
        return Path(self.file).stem + guided


SPEC = TeacherSpec(
    name="checkpoint",
    target=f"{METHODS}.teachers.checkpoint:denoiser",
    options=CheckpointOptions,
    summary="a network that somebody else trained: EDM, OpenAI, DDPM, score_sde, torchcfm, PD, diffusers",
    papers=("karras2022elucidating", "dhariwal2021diffusion"),
)
