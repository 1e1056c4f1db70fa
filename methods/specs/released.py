"""A released few-step model in a diffusers folder, sampled by its own scheduler."""

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..nfe import Steps, UnreachableNFE, one_per_step
from ..options import NamedOptions
from .base import METHODS, MethodSpec

Label = Annotated[int, Field(ge=0, le=100_000)]


class ReleasedOptions(NamedOptions):
    """A few-step model in a diffusers folder, sampled as its authors do; it has no teacher here."""

    folder: str = Field("", description="Required: the folder, with `unet/` and `scheduler/` in it.")
    sampler: Literal["euler", "lcm", "tcd"] = Field(
        "euler",
        description="euler: DDIM from label to label, then to clean data. lcm: a consistency function, then noise up "
        "to the next label. tcd: DDIM down to a label below the next, then noise up to it.",
    )
    labels: tuple[Label, ...] = Field(
        (),
        max_length=1000,
        description="Labels of the noise levels, falling: the row's NFE is their number. Empty: those of diffusers' "
        "scheduler for as many steps, euler with trailing spacing.",
    )
    eta: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Of tcd: how far below the next label DDIM goes, as a share of it; 0 adds no noise. Paper: 0.3.",
    )
    start: Literal["unit", "scaled"] = Field(
        "unit",
        description="unit takes unit noise as the state at the first label, as diffusers does; scaled multiplies it by "
        "that label's sigma.",
    )

    @model_validator(mode="after")
    def _labels_fall(self) -> "ReleasedOptions":
        if any(before <= after for before, after in zip(self.labels, self.labels[1:], strict=False)):
            raise ValueError("labels must fall, from the noisiest")
        return self

    def label(self) -> str:
        """The folder's name, then the sampler and what else is not default: turbo lcm."""
        words = [PurePath(self.folder).name, self.sampler]
        for key, value in self.model_dump(exclude_defaults=True, exclude={"folder", "sampler"}).items():
            words.append(f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
        return " ".join(words)

    def alone(self) -> "ReleasedOptions":
        """What determines the samples of a network that has been read."""
        return self.model_copy(update={"folder": ""})

    def steps_for(self, nfe: int) -> Steps:
        if self.labels and nfe != len(self.labels):
            raise UnreachableNFE(f"{len(self.labels)} labels are given: NFE {len(self.labels)} only")
        return one_per_step(nfe)


SPEC = MethodSpec(
    name="released",
    target=f"{METHODS}.elsewhere.released:Released",
    options=ReleasedOptions,
    summary="a released few-step model in a diffusers folder, sampled as its authors do: euler, lcm or tcd",
    kind="made elsewhere",
    alone=True,
    made="trained by its authors",
    display="Released model",
    papers=("luo2023latent", "zheng2024trajectory"),
)
