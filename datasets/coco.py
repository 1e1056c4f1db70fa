"""COCO's validation images with a frozen list of captions (Lin et al. 2014; Chen et al. 2015)."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from .facts import ArchiveError
from .files import Member, members, unread
from .registry import DatasetSpec
from .sources import Part, convert
from .writing import Record

Rows = dict[int, list[dict[str, Any]]]
"""The annotations of each image in the order of their ids, by the image's row."""


def splits(spec: DatasetSpec, source: Path) -> dict[str, Part]:
    """The images in the order of their ids, and the frozen captions.

    `source` holds val<year> and annotations/captions_val<year>.json, or the two zips as they are published.
    """
    year = spec.name.removeprefix("coco")
    annotations = f"captions_val{year}.json"
    everything = _members(source, year)
    found = {PurePosixPath(member.name).name: member for member in everything}
    if annotations not in found:
        raise ArchiveError(f"{source}: {annotations} is not there; get annotations_trainval{year}.zip")
    images, rows = _read(found[annotations])
    captions = [
        {
            "id": chosen["id"],
            "image": row,
            "image_id": chosen["image_id"],
            # In a file of lines each is one.
            "caption": " ".join(chosen["caption"].split()),
        }
        for row, chosen in FROZEN[year](rows, spec.captions)
    ]
    listed = {PurePosixPath(image["file_name"]).name for image in images}
    others = [member for member in everything if member.is_image and PurePosixPath(member.name).name not in listed]
    left = unread(everything, [("image", f" that {annotations} does not list")] * len(others))
    return {spec.archive: Part(_images(spec, images, found, annotations), tuple(captions), left)}


def drawn(rows: Rows, count: int) -> list[tuple[int, dict[str, Any]]]:
    """`count` images without repetition and one caption of each, by numpy's RandomState(0).

    The first `count` of one permutation of the captioned images, in the order of their ids; then for each an integer
    below the number of its captions, in the order of theirs. numpy has frozen this generator's stream.
    """
    rng, captioned = np.random.RandomState(0), sorted(rows)
    chosen = np.sort(rng.permutation(len(captioned))[:count])
    return [(row := captioned[i], rows[row][rng.randint(len(rows[row]))]) for i in chosen]


def first(rows: Rows, count: int) -> list[tuple[int, dict[str, Any]]]:
    """The caption with the lowest id of each of the first `count` images."""
    return [(row, rows[row][0]) for row in sorted(rows)[:count]]


FROZEN: dict[str, Callable[[Rows, int], list[tuple[int, dict[str, Any]]]]] = {"2014": drawn, "2017": first}


def _members(source: Path, year: str) -> list[Member]:
    published = {name for name in (f"val{year}.zip", f"annotations_trainval{year}.zip") if (source / name).is_file()}
    found = [member for member in members(source) if member.name not in published]
    return found + [member for name in sorted(published) for member in members(source / name)]


def _read(file: Member) -> tuple[list[dict[str, Any]], Rows]:
    """(images in the order of their ids, their annotations)."""
    try:
        content = json.loads(file.read())
        images = sorted(content["images"], key=lambda image: int(image["id"]))
        row_of = {image["id"]: row for row, image in enumerate(images)}
        rows: Rows = {}
        for annotation in sorted(content["annotations"], key=lambda annotation: int(annotation["id"])):
            if not isinstance(annotation["caption"], str):
                raise TypeError
            rows.setdefault(row_of[annotation["image_id"]], []).append(annotation)
        if not all(isinstance(image["file_name"], str) for image in images):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ArchiveError(f"{file.name}: not COCO's captions: images with id and file_name, annotations") from None
    return images, rows


def _images(
    spec: DatasetSpec, images: list[dict[str, Any]], found: dict[str, Member], annotations: str
) -> Iterator[Record]:
    for image in images:
        name = PurePosixPath(image["file_name"]).name
        if name not in found:
            raise ArchiveError(f"{name}: {annotations} lists it, and it is not there")
        yield Record(found[name].name, partial(_pixels, spec, found[name]), None)


def _pixels(spec: DatasetSpec, member: Member) -> Any:
    return convert(spec, member.name, member.read())
