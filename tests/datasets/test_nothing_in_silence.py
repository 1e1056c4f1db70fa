"""Every file of a source is read, left by a stated rule, or counted in one line."""

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fewstep.bench.cli import main
from fewstep.datasets import forms
from fewstep.datasets.images import Images
from fewstep.datasets.prepare import prepare
from fewstep.datasets.registry import DATASETS
from fewstep.datasets.sources import origin

CLASSES = origin(DATASETS["cifar10"]).class_names


def picture(file, seed=0, size=32):
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def source(tmp_path):
    """Two images of each class of CIFAR-10."""
    for i, name in enumerate(CLASSES):
        for j in range(2):
            picture(tmp_path / "source" / name / f"{j}.png", 2 * i + j)
    return tmp_path / "source"


def prepared(source, root):
    """(facts of the training images, the notes)."""
    notes = []
    made = prepare("cifar10", source, root, lambda file, count: None, on_note=notes.append)
    return made[0][1], notes


def test_the_count_is_compared_with_what_the_set_has(source, tmp_path):
    facts, notes = prepared(source, tmp_path / "data")
    assert facts["count"] == 20
    assert notes == [f"{tmp_path / 'data' / DATASETS['cifar10'].archive}: 20 images, cifar10 has 50000"]


def test_a_class_without_images_is_named(source, tmp_path):
    shutil.rmtree(source / CLASSES[3])
    assert prepared(source, tmp_path / "data")[1][0].endswith("no image of class 3")


def test_folders_behind_links_are_read(source, tmp_path):
    whole = prepared(source, tmp_path / "whole")[0]
    (source / CLASSES[3]).rename(tmp_path / "elsewhere")
    (source / CLASSES[3]).symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert prepared(source, tmp_path / "linked")[0]["sha256"] == whole["sha256"]
    assert Images(source).count == 20


def test_a_link_back_is_counted_and_ends(source, tmp_path):
    (source / CLASSES[0] / "up").symlink_to(source, target_is_directory=True)
    facts, notes = prepared(source, tmp_path / "data")
    assert facts["count"] == 20
    assert notes[0] == f"{source}: 1 link back to a folder around it is not read"
    assert Images(source).unread == notes[0]


def test_a_link_to_nothing_is_one_line_and_leaves_nothing(source, tmp_path):
    (source / CLASSES[0] / "gone.png").symlink_to(tmp_path / "gone.png")
    done = CliRunner().invoke(
        main, ["prepare", "cifar10", "--from", str(source), "--data-root", str(tmp_path / "data")]
    )
    assert done.exit_code == 2
    assert "a link to a file or folder that is not there" in done.output
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("ending", ["tif", "gif", "pgm", "ppm", "bmp", "webp", "jfif", "TIFF", "PNG"])
def test_images_of_every_still_form_are_read(tmp_path, ending):
    for i in range(3):
        picture(tmp_path / "images" / f"{i}.png", i)
    kind = {"jfif": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(ending, None if ending in ("TIFF", "PNG") else ending)
    image = Image.open(tmp_path / "images" / "0.png").convert("L")
    image.save(tmp_path / "images" / f"9.{ending}", format=kind and kind.upper())
    assert Images(tmp_path / "images").count == 4
    assert Images(tmp_path / "images").unread == ""


def test_files_of_other_forms_are_counted_in_one_line(tmp_path):
    picture(tmp_path / "images" / "0.png")
    for i in range(55):
        (tmp_path / "images" / f"{i}.psd").write_bytes(b"8BPS")
    (tmp_path / "images" / "more.zip").write_bytes(b"PK")
    assert Images(tmp_path / "images").unread == (
        f"{tmp_path / 'images'}: 55 files of the form .psd and 1 file of the form .zip are not read; "
        "convert images to PNG, unpack archives"
    )


LEFT = ("._0.png", ".DS_Store", "Thumbs.db", "__MACOSX/cat/._0.png", "cat/0.png~", ".git/a.png", "desktop.ini")


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
def test_what_systems_and_editors_leave_is_skipped(tmp_path, form):
    folder = tmp_path / "images"
    picture(folder / "cat" / "0.png")
    for name in (*LEFT, "README.md", "LICENSE"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"Mac OS X")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    packed = {"folder": folder, "zip": tmp_path / "images.zip", "tar": tmp_path / "images.tar"}[form]
    if form == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for name in names:
                archive.write(folder / name, name)
    if form == "tar":
        with tarfile.open(packed, "w") as archive:
            for name in names:
                archive.add(folder / name, name)
    images = Images(packed)
    assert (images.count, images.unread) == (1, "")
    assert all(map(forms.is_left, LEFT))


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_that_are_not_utf_8_are_read_and_hashed(source, tmp_path):
    """The content of ordinary names keeps its hash: it is part of protocols."""
    odd = os.fsencode(source / CLASSES[0]) + b"/caf\xe9.png"
    try:
        os.rename(source / CLASSES[0] / "0.png", odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    assert prepared(source, tmp_path / "data")[0]["count"] == 20
    assert len(Images(source).content()) == 64


def test_an_npz_is_known_by_its_content(tmp_path):
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    with (tmp_path / "samples").open("wb") as file:
        np.savez(file, pixels)
    np.savez(tmp_path / "x.npz", pixels)
    (tmp_path / "x.npz").rename(tmp_path / "X.NPZ")
    assert Images(tmp_path / "samples").count == Images(tmp_path / "X.NPZ").count == 3


@pytest.mark.parametrize("name", ["array.npy", "data.mdb", "notes.txt", "one.png"])
def test_a_source_that_is_none_is_refused_with_a_reason(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x93NUMPY, or whatever else")
    done = CliRunner().invoke(
        main, ["prepare", "ffhq64", "--from", str(tmp_path / name), "--data-root", str(tmp_path / "data")]
    )
    assert done.exit_code == 2
    assert not done.output.rstrip().endswith(":")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [("nonsense", "--from", "."), ("cifar10", "--from", "nowhere"), ("cifar10",)])
def test_a_refused_prepare_leaves_no_data_root(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["prepare", *arguments])
    assert done.exit_code == 2
    assert list(Path().iterdir()) == []
