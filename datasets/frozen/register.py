"""Which networks are shipped, and the digests by which they are known. No torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FrozenNetwork:
    """One file of this folder: `name` without its suffix, `sha256` of the whole file."""

    name: str
    role: Literal["teacher", "classifier"]
    dataset: str
    sha256: str


NETWORKS = {
    network.name: network
    for network in (
        FrozenNetwork("digits-unet-128k", "teacher", "digits", ""),
        FrozenNetwork("digits-classifier", "classifier", "digits", ""),
    )
}
