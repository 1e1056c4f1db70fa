"""The images of a source, whatever form people have it in: a record for each, with its label, not yet decoded."""

import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import Image

from . import arrays, folders, forms
from .decoding import Pixels, decode, photograph
from .facts import LABELS, ArchiveError
from .files import Member, bounded, members, unread
from .preprocess import CONVENTIONS
from .registry import DatasetSpec, Source
from .writing import Record

SPLITS = {"train", "test", "val"}
DATABASE = "data.mdb"
WNID = re.compile(r"n\d{8}")


class Part(NamedTuple):
    """What becomes one archive: records in order, and the frozen list of captions.

    `unread` is one line on the files of the source that are not read, empty where there are none.
    """

    records: Iterator[Record]
    captions: tuple[dict[str, Any], ...] = ()
    unread: str = ""


def splits(spec: DatasetSpec, source: Path) -> dict[str, Part]:
    """Each archive's images, from a folder, zip or tar of files, an LSUN database, or guided-diffusion's npz."""
    if arrays.is_npz(source):
        return {spec.archive: Part(_batch(spec, source))}
    if (source / DATABASE).is_file():
        return {spec.archive: Part(_database(spec, source), (), _beside(source, {DATABASE, "lock.mdb"}))}
    own = origin(spec)
    found = members(source)
    listed = _listed_labels(found)
    images = [member for member in found if member.is_image]
    if not images:
        _refuse_a_database(source, found)
    label_of = _labelling(spec, images, listed)
    chosen = _divided(spec, images)
    absent = (listed or {}).keys() - {member.name for member in images} if spec.classes else ()
    left = unread(
        found,
        [("image", f" outside of {' and '.join(own.splits)}")] * (len(images) - sum(map(len, chosen.values())))
        + [("file", f" that {LABELS} lists and that are not there")] * len(absent),
    )
    parts = {archive: Part(_files(spec, members, label_of)) for archive, members in chosen.items()}
    return {**parts, spec.archive: parts[spec.archive]._replace(unread=left)}


def _refuse_a_database(source: Path, found: list[Member]) -> None:
    database = next((member.name for member in found if PurePosixPath(member.name).name == DATABASE), None)
    if database is not None:
        advice = f"name the folder of {database}" if source.is_dir() else "unpack it first"
        raise ArchiveError(f"{source}: it holds a database, {DATABASE}, which is read where it lies; {advice}")


def _divided(spec: DatasetSpec, images: list[Member]) -> dict[str, list[Member]]:
    """The images of each archive. Where no folder is called after a split, all are training images."""
    own = origin(spec)
    if not own.splits:
        return {spec.archive: images}
    named = any(SPLITS & _folders(member.name) for member in images)
    return {
        archive: [member for member in images if (split in _folders(member.name) if named else split == "train")]
        for split, archive in zip(own.splits, (spec.archive, own.held_out), strict=False)
    }


def _folders(name: str) -> set[str]:
    """The names of the folders around a file, in small letters."""
    return set(name.lower().split("/")[:-1])


def _beside(source: Path, read: set[str]) -> str:
    """One line on the files of a folder, of any form, but those of these names."""
    others = (file for file in folders.files(source) if file.name not in read and not forms.is_note(file.name))
    return forms.unread(file.fault or forms.kind(file.name) for file in others)


def origin(spec: DatasetSpec) -> Source:
    if spec.source is None:
        raise ArchiveError(f"{spec.name} is embedded: there is nothing to prepare")
    return spec.source


def convert(spec: DatasetSpec, name: str, data: bytes) -> Pixels:
    """One image of a source as the data set has it. ArchiveError names the file."""
    own, side = origin(spec), spec.shape[1]
    if own.preprocessing == "none":
        return decode(name, data, (side, side))

    def convention(image: Image.Image) -> Pixels:
        if own.original and image.width not in (own.original, side):
            raise ArchiveError(f"{image.width}x{image.height} pixels, not {own.original}x{own.original}")
        return CONVENTIONS[own.preprocessing](image, side)

    return photograph(name, data, convention)


def listing(source: Path) -> str:
    """A hash of names, sizes and times: whether a source is still the one that was begun with."""
    digest = hashlib.sha256()
    found = folders.files(source) if source.is_dir() else [folders.Found(".", os.fspath(source))]
    for file in sorted(found):
        stat = os.stat(file.path)
        line = f"{file.name} {stat.st_size} {stat.st_mtime_ns}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _files(spec: DatasetSpec, images: list[Member], label_of: Callable[[str], int | None]) -> Iterator[Record]:
    for member in images:
        yield Record(member.name, partial(_read, spec, member), label_of(member.name))


def _read(spec: DatasetSpec, member: Member) -> Pixels:
    return convert(spec, member.name, member.read())


def _listed_labels(found: list[Member]) -> dict[str, Any] | None:
    """What dataset.json says of each file, by the path that the file has beside it; None without labels."""
    lists = [member for member in found if PurePosixPath(member.name).name == LABELS]
    if not lists:
        return None
    member = min(lists, key=lambda member: member.name.count("/"))
    prefix = member.name.removesuffix(LABELS)
    try:
        labels = json.loads(member.read())["labels"]
        return None if labels is None else {prefix + name: label for name, label in labels}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ArchiveError(f'{member.name}: not {{"labels": [[file, class], ...]}}') from None


def _labelling(spec: DatasetSpec, images: list[Member], listed: dict[str, Any] | None) -> Callable[[str], int | None]:
    """The class of a file by its name: as dataset.json lists it, or by its folder."""
    if not spec.classes:
        return lambda name: None
    if listed is not None:
        return partial(_listed_label, spec, listed)
    names = origin(spec).class_names
    if not names:
        names = tuple(sorted({name for member in images if WNID.fullmatch(name := _folder(member.name))}))
        if names and len(names) != spec.classes:
            raise ArchiveError(
                f"{len(names)} folders named by WNID, {names[0]} to {names[-1]}; {spec.name} has {spec.classes} classes"
            )
    return partial(_folder_label, {name: i for i, name in enumerate(names)})


def _listed_label(spec: DatasetSpec, listed: dict[str, Any], name: str) -> int:
    if name not in listed:
        raise ArchiveError(f"{name}: {LABELS} has no label for it")
    label = listed[name]
    if type(label) is not int or not 0 <= label < spec.classes:
        raise ArchiveError(f"{name}: label {label!r} in {LABELS}, not one of 0 to {spec.classes - 1}")
    return label


def _folder_label(classes: dict[str, int], name: str) -> int:
    folder = _folder(name)
    if folder not in classes:
        known = (
            f"the classes {', '.join(classes)}" if 0 < len(classes) <= 10 else "the classes' folders (n01440764, ...)"
        )
        raise ArchiveError(f"{name}: {folder or 'no folder'} is none of {known}")
    return classes[folder]


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.name


def _database(spec: DatasetSpec, source: Path) -> Iterator[Record]:
    """LSUN's images, in the order of their keys (Yu et al. 2015)."""
    try:
        import lmdb
    except ImportError:
        raise ArchiveError("missing package lmdb, get it by `pip install lmdb`") from None
    if spec.classes:
        raise ArchiveError(f"{source}: a database has no labels, and {spec.name} has {spec.classes} classes")
    try:
        # Left open: the last records are decoded when the last key has been read.
        database = lmdb.open(str(source), readonly=True, lock=False, readahead=False)
        # Beyond the end of a file that is cut short, the memory map ends the process.
        end = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
        if (source / DATABASE).stat().st_size < end:
            raise ArchiveError(f"{source}/{DATABASE}: cut short: less than its {end} bytes")
        transaction = database.begin()
        get = _one_at_a_time(transaction.get)
        for key in transaction.cursor().iternext(keys=True, values=False):
            name = key.decode("ascii", "replace")
            yield Record(name, partial(_value, spec, name, partial(get, key), lmdb.Error), None)
    except lmdb.Error as error:
        raise ArchiveError(f"{source}: not an LSUN database: {error}") from None


def _value(spec: DatasetSpec, name: str, get: Callable[[], bytes | None], broken: type[Exception]) -> Pixels:
    try:
        data = get() or b""
    except broken as error:
        raise ArchiveError(f"{name}: {error}") from None
    return convert(spec, name, bounded(name, data))


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose callers in other threads wait for each other."""
    lock = threading.Lock()

    def call(*args: Any) -> Any:
        with lock:
            return function(*args)

    return call


def _batch(spec: DatasetSpec, source: Path) -> Iterator[Record]:
    """guided-diffusion's npz: images that have the size already."""
    images, labels = arrays.sample_batch(source)
    if images.shape[1:] != (*spec.shape[1:], spec.shape[0]):
        sizes = [f"{shape[1]}x{shape[0]}x{shape[2]}" for shape in (images.shape[1:], (*spec.shape[1:], spec.shape[0]))]
        raise ArchiveError(f"{source}: images of {sizes[0]}, and {spec.name}'s are {sizes[1]}")
    if spec.classes:
        if labels is None:
            raise ArchiveError(f"{source}: no labels `arr_1` in it, and {spec.name} has {spec.classes} classes")
        if not 0 <= labels.min() <= labels.max() < spec.classes:
            message = f"labels {labels.min()} to {labels.max()}, not 0 to {spec.classes - 1}"
            raise ArchiveError(f"{source}: {message}")
    for i, image in enumerate(images):
        label = int(labels[i]) if spec.classes and labels is not None else None
        yield Record(f"arr_0[{i}]", partial(same, image), label)


def same(image: Pixels) -> Pixels:
    """What is decoded already."""
    return image


def downsampled(spec: DatasetSpec, source: Path) -> dict[str, Part]:
    """The downsampled ImageNet's batches in their numbers' order, and its validation images: npz files or pickles."""
    found = sorted(folders.files(source)) if source.is_dir() else []
    files = {_stem(file.path): Path(file.path) for file in sorted(found, key=_npz_last) if _stem(file.path)}
    batches = {int(stem.rpartition("_")[2]): path for stem, path in files.items() if stem != "val_data"}
    if not batches:
        raise ArchiveError(f"{source}: no folder with train_data_batch_1, or train_data_batch_1.npz, and so on")
    if sorted(batches) != list(range(1, len(batches) + 1)):
        absent = min(set(range(1, max(batches) + 1)) - set(batches))
        raise ArchiveError(f"{source}: train_data_batch_{absent} is not there")
    held_out = [files["val_data"]] if "val_data" in files else []
    parts = {spec.archive: [batches[number] for number in sorted(batches)], origin(spec).held_out: held_out}
    left = _beside(source, {file.name for file in found if _stem(file.path)})
    return {archive: Part(_rows(spec, paths), (), left * (archive == spec.archive)) for archive, paths in parts.items()}


def _stem(path: str) -> str:
    """The name of a batch, as an npz or pickled; empty for other files."""
    match = re.fullmatch(r"(train_data_batch_\d+|val_data)(\.npz)?", os.path.basename(path).lower())
    return match[1] if match else ""


def _npz_last(file: folders.Found) -> bool:
    """Of a batch in both forms the later is taken."""
    return forms.suffix(file.path) == ".npz"


def _rows(spec: DatasetSpec, files: list[Path]) -> Iterator[Record]:
    side = spec.shape[1]
    for file in files:
        labels = arrays.downsampled_labels(file, spec.classes)
        # A batch is 1.6 GB: it is read when its first image is wanted, and held as long as one of them is.
        batch = _one_at_a_time(lru_cache(maxsize=1)(partial(arrays.downsampled_pixels, file, len(labels), side)))
        for i, label in enumerate(labels.tolist()):
            yield Record(f"{file.name} image {i + 1}", lambda batch=batch, i=i: batch()[i], label)  # type: ignore[misc]
