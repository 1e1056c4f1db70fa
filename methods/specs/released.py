"""A released few-step model in a diffusers folder, sampled by its own scheduler."""

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..nfe import Steps, UnreachableNFE, one_per_step
from ..options import NamedOptions
from .base import METHODS, MethodSpec
from .teachers.pipeline import PipelineOptions

Label = Annotated[int, Field(ge=0, le=100_000)]


class ReleasedOptions(NamedOptions):
    """A few-step model in a diffusers folder, sampled as its authors do; it has no teacher here."""

    folder: str = Field("", description="Required: the folder, with `unet/` and `scheduler/` in it.")
    unet: str = Field(
        "",
        description="A file with the network's weights, in place of those in the folder: one of SDXL-Lightning's, "
        "DMD2's or SIM's.",
    )
    prediction: Literal["epsilon", "v_prediction", "sample"] | None = Field(
        None, description="What the network predicts, where that is not what the folder's scheduler says."
    )
    guidance: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Of a network of captions: the scale that it is told, if it is told one (LCM), else that of "
        "classifier-free guidance. None for neither.",
    )
    resolution: int | None = Field(
        None, ge=8, le=8192, description="Of a network of captions: sides of an image in pixels, by default its own."
    )
    sampler: Literal["euler", "lcm", "tcd", "sim"] = Field(
        "euler",
        description="euler: DDIM from label to label, then to clean data. lcm: a consistency function, then noise up "
        "to the next label. tcd: DDIM down to a label below the next, then noise up to it. sim: SIM's single step from "
        "noise level 2.5, at the label that its authors' code rounds this to.",
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
        if self.labels and self.sampler == "sim":
            raise ValueError("sim starts at its own noise level: leave out labels")
        return self

    def label(self) -> str:
        """The folder's name, then the sampler and what else is not default: turbo lcm."""
        words = [PurePath(self.folder).name, self.sampler]
        if self.unet:
            words.insert(1, PurePath(self.unet).name)
        for key, value in self.model_dump(exclude_defaults=True, exclude={"folder", "sampler", "unet"}).items():
            words.append(f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
        return " ".join(words)

    def alone(self) -> "ReleasedOptions":
        """What determines the samples of a network that has been read."""
        of_the_network = {"folder": "", "unet": "", "prediction": None, "guidance": None, "resolution": None}
        return self.model_copy(update=of_the_network)

    def pipeline(self) -> PipelineOptions:
        """The network of a text-to-image folder, as the teacher that it is read as."""
        return PipelineOptions(
            folder=self.folder,
            guidance=self.guidance,
            resolution=self.resolution,
            network_file=self.unet or None,
            prediction=self.prediction,
        )

    def steps_for(self, nfe: int) -> Steps:
        if self.labels and nfe != len(self.labels):
            raise UnreachableNFE(f"{len(self.labels)} labels are given: NFE {len(self.labels)} only")
        if self.sampler == "sim" and nfe != 1:
            raise UnreachableNFE("sim is a single step: NFE 1 only")
        return one_per_step(nfe)


SPEC = MethodSpec(
    name="released",
    target=f"{METHODS}.elsewhere.released:Released",
    options=ReleasedOptions,
    summary="a released few-step model in a diffusers folder, sampled as its authors do: euler, lcm, tcd or sim",
    kind="made elsewhere",
    alone=True,
    made="trained by its authors",
    display="Released model",
    papers=("luo2023latent", "zheng2024trajectory"),
)
