"""CelebA's training images (Liu et al. 2015)."""

from functools import partial
from pathlib import Path, PurePosixPath

from .decoding import Pixels
from .facts import ArchiveError
from .files import Member, members, unread
from .registry import DatasetSpec
from .sources import Part, convert
from .writing import Record

LAST = 162_770
"""Of the training images' numbers, which begin at 1; what follows is for validation and testing."""


def splits(spec: DatasetSpec, source: Path) -> dict[str, Part]:
    """The training images in the order of their numbers, from img_align_celeba, its zip, or a folder around it."""
    found = members(source)
    images = {_number(member): member for member in found if member.is_image}
    chosen = [images[number] for number in sorted(images) if number <= LAST]
    left = unread(found, [("image", " outside of the training part")] * (len(images) - len(chosen)))
    records = (Record(member.name, partial(_pixels, spec, member), None) for member in chosen)
    return {spec.archive: Part(records, (), left)}


def _number(member: Member) -> int:
    stem = PurePosixPath(member.name).stem
    if not stem.isdecimal():
        raise ArchiveError(f"{member.name}: CelebA's images are called by their numbers, 000001.jpg and so on")
    return int(stem)


def _pixels(spec: DatasetSpec, member: Member) -> Pixels:
    return convert(spec, member.name, member.read())
