"""Images that were made anywhere, as a row of a suite."""

from pathlib import PurePath
from typing import Literal

from pydantic import ConfigDict, Field

from ..options import NamedOptions
from .base import MethodSpec


class ImagesOptions(NamedOptions):
    """Images that were made anywhere, measured as `fewstep evaluate` measures them. The row says with what NFE."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    source: str = Field(
        "",
        alias="from",
        description="Required: a folder, zip, tar or npz of images, as `fewstep evaluate` takes them.",
    )
    rounding: Literal["round", "truncate", "unknown"] | None = Field(
        None, description="How they became 8 bits, for the protocol; by default as the suite's samples do."
    )

    def label(self) -> str:
        """The last part of the path."""
        return PurePath(self.source).name


SPEC = MethodSpec(
    name="images",
    target=f"{__name__}:ImagesOptions",
    options=ImagesOptions,
    summary="images that were made anywhere: a folder, zip, tar or npz",
    kind="made elsewhere",
    alone=True,
    made="made elsewhere",
    display="Images",
)
