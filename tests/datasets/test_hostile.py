"""What is broken or means harm: one line with the member's name, and nothing written."""

import io
import os
import pickle
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.datasets import files
from fewstep.datasets.decoding import decode
from fewstep.datasets.facts import ArchiveError
from fewstep.datasets.prepare import prepare
from fewstep.tests.datasets.packing import packed


def refused(tmp_path, name, source, message):
    """The command ends with one line, exit code 2 and an empty folder."""
    root = tmp_path / "data"
    before = sorted(path for path in tmp_path.rglob("*") if path != root)
    result = CliRunner().invoke(main, ["prepare", name, "--from", str(source), "--data-root", str(root)])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("fewstep: ")
    assert message in line
    assert not root.exists()
    assert sorted(path for path in tmp_path.rglob("*") if path != root) == before


def header(width, height):
    """A PNG that says how large it is, and has a few bytes of pixels."""
    chunks = (b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b"\0" * 100))
    written = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "b.png: not a whole image"),
        (lambda whole: b"", "b.png: not a whole image"),
        (lambda whole: b"<html>404</html>", "b.png: not a whole image"),
        (lambda whole: header(40_000, 40_000), "b.png: Image size (1600000000 pixels) exceeds limit"),
        (lambda whole: header(9_600, 9_600), "b.png: Image size (92160000 pixels) exceeds limit"),
    ],
)
def test_a_broken_image_or_a_bomb_is_named(tmp_path, good, data, message):
    source = packed(tmp_path, {**good, "b.png": data(good["a/0.png"])})
    refused(tmp_path, "ffhq64", source, message)


def test_threads_find_every_bomb_and_leave_warnings_as_they_were():
    """What a warning becomes is a setting of the process: while one thread has set it, another must not reset it."""
    before, interval = list(warnings.filters), sys.getswitchinterval()
    bombs = [header(9_600, 9_600)] * 500

    def refused(data):
        try:
            decode("b.png", data)
        except ArchiveError as error:
            return str(error)

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(refused, bombs))
    finally:
        sys.setswitchinterval(interval)
    assert [message.partition(" (")[0] for message in found] == ["b.png: Image size"]
    assert warnings.filters == before


@pytest.mark.parametrize("mode", ["1", "I;16", "F"])
def test_images_that_are_not_of_8_bits_are_refused(tmp_path, good, encoded, picture, mode):
    image = picture(0, 64).convert("L").convert(mode)
    source = packed(tmp_path, {**good, "b.tif.png": encoded(image, "PNG" if mode != "F" else "TIFF")})
    refused(tmp_path, "ffhq64", source, f"b.tif.png: mode {mode}, not RGB")


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("ffhq64", (128, 128), "128x128 pixels, not 1024x1024"),
        ("ffhq64", (64, 60), "64x60 pixels, which is not square"),
        ("afhqv2-64", (256, 256), "256x256 pixels, not 512x512"),
        ("cifar10", (28, 28), "28x28 pixels, not 32x32"),
        ("lsun-cat", (20_000, 1), "20000x1 pixels, 5120000x256 with a short side of 256"),
    ],
)
def test_images_of_another_size_are_refused(tmp_path, encoded, picture, name, size, message):
    image = picture(0, 8).resize(size)
    source = packed(tmp_path, {"train/cat/b.png": encoded(image)})
    refused(tmp_path, name, source, f"train/cat/b.png: {message}")


def test_a_member_larger_than_any_image_is_not_read_to_its_end(tmp_path, good, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 100_000)
    source = packed(tmp_path, {**good, "b.png": b"\0" * 200_000})
    assert source.stat().st_size < 100_000
    refused(tmp_path, "ffhq64", source, "b.png: more than 100000 bytes, which no image here has")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "b.png").write_bytes(b"\0" * 200_000)
    refused(tmp_path, "ffhq64", folder, "b.png: more than 100000 bytes, which no image here has")


def test_a_compressed_tar_larger_than_memory_is_to_be_unpacked(tmp_path, good, monkeypatch):
    monkeypatch.setattr(files, "HELD", 1000)
    with tarfile.open(tmp_path / "s.tar.gz", "w:gz") as archive:
        for name, data in good.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    refused(tmp_path, "ffhq64", tmp_path / "s.tar.gz", "in a compressed tar; unpack it first")


@pytest.mark.parametrize("name", ["../../outside.png", "/outside.png", "a/../../../outside.png", "C:\\outside.png"])
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_members_that_point_outside_are_images_like_others(tmp_path, good, form, name):
    inner = tmp_path / "deep" / "down"
    inner.mkdir(parents=True)
    source = packed(inner, {name: good["a/0.png"]})
    if form == "tar":
        source = inner / "s.tar"
        with tarfile.open(source, "w") as archive:
            info = tarfile.TarInfo(name)
            info.size = len(good["a/0.png"])
            archive.addfile(info, io.BytesIO(good["a/0.png"]))
    ((path, facts),) = prepare("ffhq64", source, inner / "data", lambda file, count: None)
    assert facts["count"] == 1
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["00000/img00000000.png", "dataset.json", "fewstep.json"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["deep"]


def test_a_name_that_would_command_the_terminal_is_shown_in_letters(tmp_path, good):
    source = packed(tmp_path, {**good, "a\x1b[2J\n.png": b"none"})
    result = CliRunner().invoke(
        main, ["prepare", "ffhq64", "--from", str(source), "--data-root", str(tmp_path / "data")]
    )
    assert result.exit_code == 2
    assert result.stderr.startswith("fewstep: a\\x1b[2J\\n.png: not a whole image")
    assert result.stderr.rstrip("\n").isprintable()


def test_a_link_in_a_tar_is_not_followed(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        info = tarfile.TarInfo("link.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(info)
    refused(tmp_path, "ffhq64", tmp_path / "s.tar", "s.tar: there are no images for ffhq-64.zip")


def test_a_damaged_member_is_named_by_its_checksum(tmp_path, good):
    source = packed(tmp_path, good, compression=zipfile.ZIP_STORED)
    data = bytearray(source.read_bytes())
    data[data.index(good["a/1.png"]) + 500] ^= 255
    source.write_bytes(data)
    refused(tmp_path, "ffhq64", source, "a/1.png: Bad CRC-32 for file 'a/1.png'")


def test_an_encrypted_member_is_named(tmp_path, good):
    source = packed(tmp_path, good, compression=zipfile.ZIP_STORED)
    data = bytearray(source.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    source.write_bytes(data)
    refused(tmp_path, "ffhq64", source, "a/0.png: encrypted")


@pytest.mark.parametrize("style", ["zip", "tar", "tar.gz", "tar.xz"])
def test_an_archive_that_is_cut_short_is_one_line(tmp_path, good, style):
    source = tmp_path / f"s.{style}"
    if style == "zip":
        packed(tmp_path, good)
    else:
        with tarfile.open(source, f"w:{style.removeprefix('tar').removeprefix('.')}") as archive:
            for name, data in good.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    refused(tmp_path, "ffhq64", source, "")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([["a/0.png", 0], ["a/1.png", 1]], "a/2.png: dataset.json has no label for it"),
        (
            [["a/0.png", 0], ["a/1.png", 1000], ["a/2.png", 2]],
            "a/1.png: label 1000 in dataset.json, not one of 0 to 999",
        ),
        ([["a/0.png", 0], ["a/1.png", -1], ["a/2.png", 2]], "a/1.png: label -1 in dataset.json"),
        ([["a/0.png", [0.0, 1.0]], ["a/1.png", 1], ["a/2.png", 2]], "a/0.png: label [0.0, 1.0] in dataset.json"),
        ([["a/0.png", True], ["a/1.png", 1], ["a/2.png", 2]], "a/0.png: label True in dataset.json"),
        ([["a/0.png"]], 'dataset.json: not {"labels": [[file, class], ...]}'),
        ("[" * 100_000, 'dataset.json: not {"labels": [[file, class], ...]}'),
        ("{}", 'dataset.json: not {"labels": [[file, class], ...]}'),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, good, labels, message):
    refused(tmp_path, "imagenet64-edm", packed(tmp_path, good, labels), message)


def test_labels_that_nothing_gives_are_missed(tmp_path, good):
    message = "a/0.png: a is none of the classes' folders (n01440764, ...)"
    refused(tmp_path, "imagenet64-edm", packed(tmp_path, good, None), message)


def test_an_imagenet_with_other_than_a_thousand_classes_is_refused(tmp_path, good):
    """Labels by sorted WNIDs would be others than everybody's."""
    members = {f"n0000000{i}/x.png": good["a/0.png"] for i in range(3)}
    message = "3 folders named by WNID, n00000000 to n00000002; imagenet64-adm has 1000 classes"
    refused(tmp_path, "imagenet64-adm", packed(tmp_path, members), message)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"arr_0": np.zeros((2, 32, 32, 3), np.uint8)}, "images of 32x32x3, and imagenet64-adm's are 64x64x3"),
        ({"arr_0": np.zeros((2, 64, 64, 3), np.uint8)}, "no labels `arr_1` in it"),
        ({"arr_0": np.zeros((2, 64, 64, 3), np.uint8), "arr_1": np.array([0, 1000])}, "labels 0 to 1000, not 0 to 999"),
        ({"arr_0": np.zeros((2, 64, 64, 3), np.uint8), "arr_1": np.array([0])}, "arr_1 is int64 (1,), not a label"),
        ({"arr_0": np.zeros((2, 64, 64, 3), np.float32)}, "arr_0 is float32"),
        ({"arr_0": np.array([{}])}, "no images `arr_0` in it"),
        ({"x": np.zeros(1)}, "no images `arr_0` in it"),
    ],
)
def test_an_npz_that_does_not_fit_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "batch.npz", **arrays)
    refused(tmp_path, "imagenet64-adm", tmp_path / "batch.npz", message)


def batch(**changes):
    fields = {"data": np.zeros((2, 12288), np.uint8), "labels": np.array([1, 1000])}
    return {**fields, **changes}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train_data_batch_1": batch(labels=np.array([0, 5]))}, "labels 0 to 5, not 1 to 1000"),
        (
            {"train_data_batch_1": batch(data=np.zeros((2, 3072), np.uint8))},
            "data is uint8 (2, 3072), not uint8 (2, 12288)",
        ),
        ({"train_data_batch_1": batch(data=np.array([{}, {}]))}, "no `data` in it"),
        ({"train_data_batch_1": batch(labels=np.array(["a", "b"]))}, "labels is <U1, not whole numbers"),
        ({"train_data_batch_1": batch(), "train_data_batch_3": batch()}, "train_data_batch_2 is not there"),
        ({"val_data": batch()}, "no folder with train_data_batch_1, or train_data_batch_1.npz, and so on"),
    ],
)
def test_batches_of_the_downsampled_imagenet_that_do_not_fit_are_refused(tmp_path, files, message):
    source = tmp_path / "npz"
    source.mkdir()
    for stem, fields in files.items():
        np.savez(source / f"{stem}.npz", **fields)
    refused(tmp_path, "imagenet64-chrabaszcz", source, message)


class Harmful:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Harmful()), "not a batch of the downsampled ImageNet: it names posix.system"),
        (pickle.dumps({**batch(), "mean": Harmful()}), "it names posix.system"),
        (pickle.dumps({"data": batch()["data"]}), "'labels'"),
        (pickle.dumps([1]), "no dictionary"),
        (pickle.dumps(batch())[:-50], "train_data_batch_1: not a batch of the downsampled ImageNet"),
        (b"", "train_data_batch_1: not a batch of the downsampled ImageNet"),
        (pickle.dumps(batch(labels=[1, [2]])), "train_data_batch_1: not a batch of the downsampled ImageNet"),
        (pickle.dumps(batch(labels=["a", "b"])), "labels is <U1, not whole numbers"),
        (pickle.dumps(batch(data=np.array([{}, {}]))), "data is object (2,), not uint8 (2, 12288)"),
    ],
)
def test_a_pickled_batch_that_is_something_else_is_refused_and_nothing_runs(tmp_path, monkeypatch, content, message):
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "train_data_batch_1").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    refused(tmp_path, "imagenet64-chrabaszcz", tmp_path / "batches", message)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("broken", ["cut short", "garbage", "not an image"])
def test_a_broken_database_is_one_line(tmp_path, good, broken):
    lmdb = pytest.importorskip("lmdb")
    source = tmp_path / "cat_lmdb"
    with lmdb.open(str(source), map_size=2**26) as database, database.begin(write=True) as transaction:
        for i in range(50):
            transaction.put(f"{i:040d}".encode(), b"none" if broken == "not an image" else good["a/0.png"])
    file, message = source / "data.mdb", "not an LSUN database"
    if broken == "cut short":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        message = "data.mdb: cut short"
    elif broken == "garbage":
        file.write_bytes(b"\xff" * 50_000)
    else:
        message = f"{0:040d}: not a whole image"
    refused(tmp_path, "lsun-cat", source, message)
