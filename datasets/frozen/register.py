"""Which networks are shipped, and the digests by which they are known. No torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FrozenNetwork:
    """One file of this folder: `name` without its suffix, `sha256` of the whole file.

    conditional: whether it is a teacher that may be told labels or captions, or none.
    """

    name: str
    role: Literal["teacher", "classifier", "scorer"]
    dataset: str
    sha256: str
    conditional: bool = False


NETWORKS = {
    network.name: network
    for network in (
        FrozenNetwork(
            "digits-unet-128k", "teacher", "digits", "a9af2b879b014c0d9efbc3b0bc83122a5fec98098e8310f5d9d1c0cea23d9f5f"
        ),
        FrozenNetwork(
            "digits-classifier",
            "classifier",
            "digits",
            "f0199cdc84442ee12d67a6e92f997474c153f40099a17985309f865f7b77458c",
        ),
        FrozenNetwork(
            "scenes-unet-128k",
            "teacher",
            "scenes",
            "99f53eab3d9c0b7c67f5465515c4ac2886c6f726ebd4e35416f626aac19f87e1",
            conditional=True,
        ),
        FrozenNetwork(
            "scenes-scorer", "scorer", "scenes", "1e39fe4d3e23b9a92fc44ff481b019326f065a746fb241bd9fc73ffda7243585"
        ),
    )
}


def teachers() -> list[str]:
    """The names of the shipped teachers."""
    return [network.name for network in NETWORKS.values() if network.role == "teacher"]


def classifier(dataset: str) -> FrozenNetwork | None:
    """The feature network that is shipped for the data set, if there is one: a classifier or a scorer."""
    own = (network for network in NETWORKS.values() if network.role != "teacher" and network.dataset == dataset)
    return next(own, None)
