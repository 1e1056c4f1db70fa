"""A teacher that comes with fewstep."""

from typing import Literal

from pydantic import Field

from ..base import METHODS
from .base import TeacherOptions, TeacherSpec


class ShippedOptions(TeacherOptions):
    """A small network that comes with fewstep, trained once by the suite from-scratch: the same on every machine."""

    name: Literal["shipped"] = Field("shipped", description="Chooses this kind of teacher.")
    file: str = Field(description="The network's name: digits-unet-128k, the teacher of the digits boards.")

    def default_label(self) -> str:
        return self.file


SPEC = TeacherSpec(
    name="shipped",
    target=f"{METHODS}.teachers.pretrain:denoiser",
    options=ShippedOptions,
    summary="a small network that comes with fewstep, the same on every machine: digits-unet-128k",
    papers=("karras2022elucidating",),
)
