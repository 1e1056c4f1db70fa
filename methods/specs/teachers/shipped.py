"""A teacher that comes with fewstep."""

from typing import Literal

from pydantic import Field

from ..base import METHODS
from .base import TeacherOptions, TeacherSpec


class ShippedOptions(TeacherOptions):
    """A small network that comes with fewstep, trained once by one of its suites: the same on every machine."""

    name: Literal["shipped"] = Field("shipped", description="Chooses this kind of teacher.")
    file: str = Field(
        description="The network's name: digits-unet-128k, the teacher of the digits boards, or scenes-unet-128k, "
        "which reads captions."
    )
    guidance: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="Scale w of classifier-free guidance, D_null + w (D_c - D_null) (Ho & Salimans 2022), of a network "
        "that reads captions; 1 is the conditional teacher.",
    )

    def default_label(self) -> str:
        return self.file + ("" if self.guidance is None else f"-w{self.guidance:.12g}")


SPEC = TeacherSpec(
    name="shipped",
    target=f"{METHODS}.teachers.pretrain:denoiser",
    options=ShippedOptions,
    summary="a small network that comes with fewstep, the same on every machine: digits-unet-128k, scenes-unet-128k",
    papers=("karras2022elucidating", "ho2022classifier"),
)
