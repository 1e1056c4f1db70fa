"""Images of a person's own as a data set: the folder, zip, tar or npz that a suite names. No torch."""

from functools import lru_cache
from pathlib import Path

from .arrays import is_npz, sample_batch
from .decoding import decode
from .facts import ArchiveError
from .files import members
from .registry import PACKAGE, SCENES, DatasetSpec

# A task names the module that reads its data.
PART_OF_RESULTS = False

MODES = ("RGB", "L")


class OwnImages(DatasetSpec):
    """As declared by the images themselves: no labels, no classifier. `archive` is their absolute path."""

    @property
    def shown(self) -> str:
        return called(self.path())

    def missing(self) -> None:
        return None

    def how_to_get(self) -> str:
        return "yours"

    def identity(self) -> dict[str, str]:
        """The hash of the files, which must all be read for it once."""
        from .own_image_set import content

        return {"content": content(self.path())}


def called(source: Path) -> str:
    """The name of a file without its suffix, of a folder whole."""
    source = source.resolve()
    return source.name if source.is_dir() else source.stem


def spec(name: str) -> OwnImages:
    """The images at the path `name` as a data set; their shape is the first one's. ArchiveError if there are none."""
    path = Path(name).absolute()
    return _spec(name, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _spec(name: str, path: Path, changed: int) -> OwnImages:
    if is_npz(path):
        images = sample_batch(path)[0]
        count, (height, width, channels) = len(images), images.shape[1:]
    else:
        found = [member for member in members(path) if member.is_image]
        if not found:
            raise ArchiveError(f"{path}: there are no images")
        height, width, channels = decode(found[0].name, found[0].read(), modes=MODES).shape
        count = len(found)
    return OwnImages(
        name,
        f"{PACKAGE}.own_image_set:load",
        f"the images of {called(path)}",
        (channels, height, width),
        count,
        SCENES,
        archive=str(path),
    )
