"""A teacher that the package ships."""

from typing import Literal

from pydantic import Field

from .base import Options


class ShippedOptions(Options):
    """A small network that the package ships, trained once by the suite from-scratch: the same on every machine.

    file: its name, see `fewstep list teachers`.
    """

    name: Literal["shipped"] = "shipped"
    file: str = Field(description="The network's name, as `fewstep list teachers` shows it.")

    def label(self) -> str:
        return self.file
