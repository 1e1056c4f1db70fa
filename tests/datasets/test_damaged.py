"""Archives and sources that were damaged on disk: found when they are read, each in one line."""

import io
import json
import random
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.datasets import writing
from fewstep.datasets.archive import load
from fewstep.datasets.facts import ArchiveError, check, read_facts
from fewstep.datasets.prepare import prepare
from fewstep.datasets.registry import DATASETS
from fewstep.tests.datasets.packing import GOOD, packed


@pytest.fixture
def large(tmp_path, picture, encoded, prepared):
    """An archive that is read image by image."""
    (tmp_path / "source").mkdir()
    source = packed(tmp_path / "source", {f"{i}.png": encoded(picture(i, 256)) for i in range(GOOD)})
    prepared("ffhq256", source)
    return tmp_path / "data" / DATASETS["ffhq256"].archive


def replaced(path, name, data):
    """The archive with one member exchanged, as a whole zip."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**members, name: data}.items():
            archive.writestr(member, content)


@pytest.mark.parametrize("member", ["00000/img00000001.png", "dataset.json"])
def test_a_large_archive_with_another_member_is_refused(large, picture, encoded, member):
    for index in large.parent.glob("*.npy"):
        index.unlink()
    replaced(large, member, encoded(picture(77, 256)))
    with pytest.raises(ArchiveError, match="its images have another hash than it says; prepare it again"):
        DATASETS["ffhq256"].load()()


def test_pixels_that_do_not_have_the_hash_of_the_facts_are_not_laid_down(tmp_path, good, prepared):
    prepared("ffhq64", packed(tmp_path, good))
    path = tmp_path / "data" / DATASETS["ffhq64"].archive
    replaced(path, "fewstep.json", json.dumps({**read_facts(path), "sha256": "0" * 64}))
    with pytest.raises(ArchiveError, match="its images have another hash than it says; prepare it again"):
        DATASETS["ffhq64"].load()()
    assert not path.with_name("ffhq-64.00000000.npy").exists()


def test_an_archive_without_a_hash_of_its_directory_is_checked_by_its_pixels(
    tmp_path, good, picture, encoded, prepared
):
    """As archives were written before the directory had one."""
    prepared("ffhq64", packed(tmp_path, good))
    path = tmp_path / "data" / DATASETS["ffhq64"].archive
    for file in path.parent.glob("*.npy"):
        file.unlink()
    facts = {key: value for key, value in read_facts(path).items() if key != "directory"}
    replaced(path, "fewstep.json", json.dumps(facts))
    assert len(DATASETS["ffhq64"].load()()) == GOOD
    for file in path.parent.glob("*.npy"):
        file.unlink()
    replaced(path, "00000/img00000001.png", encoded(picture(50, 64)))
    with pytest.raises(ArchiveError, match="its images have another hash than it says; prepare it again"):
        DATASETS["ffhq64"].load()()


def test_a_byte_that_changed_on_disk_is_found_when_its_image_is_read(large):
    data = DATASETS["ffhq256"].load()()
    content = bytearray(large.read_bytes())
    content[content.index(b"img00000001.png") + 500] ^= 1
    large.write_bytes(content)
    assert data.images[0:1].shape == (1, 3, 256, 256)
    with pytest.raises(ArchiveError, match=r"00000/img00000001\.png is not what the archive says; prepare it again"):
        data.images[0:2]


def test_the_same_images_encoded_otherwise_are_read_from_where_they_lie_now(large, tmp_path, prepared, monkeypatch):
    before = DATASETS["ffhq256"].load()()
    expected = before.images[:]

    def compressed(pixels):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG", compress_level=9)
        return buffer.getvalue()

    monkeypatch.setattr(writing, "_png", compressed)
    size = large.stat().st_size
    after, _ = prepared("ffhq256", tmp_path / "source" / "s.zip")
    assert large.stat().st_size < size
    assert after.content == before.content
    assert torch.equal(after.images[:], expected)


def test_an_archive_of_another_data_set_is_refused(large):
    shutil.copy(large, large.with_name(DATASETS["lsun-cat"].archive))
    assert DATASETS["lsun-cat"].load()().shape == (3, 256, 256)
    shutil.copy(large, large.with_name(DATASETS["ffhq64"].archive))
    with pytest.raises(ArchiveError, match="the images' and ffhq64's shapes are 3x256x256 and 3x64x64"):
        DATASETS["ffhq64"].load()()


def damaged(content, rng):
    """A few bytes changed, taken out or put in, most often near the end, where a zip has its directory."""
    content = bytearray(content)
    for _ in range(rng.choice([1, 2, 5])):
        at = rng.randrange(len(content)) if rng.random() < 0.5 else len(content) - 1 - rng.randrange(500)
        length = rng.choice([1, 10, 512])
        content[at : at + length] = rng.choice([b"", bytes(rng.randrange(256) for _ in range(rng.choice([1, 8])))])
    return bytes(content)


@pytest.mark.parametrize("name", ["ffhq64", "lsun-cat"])
def test_whatever_becomes_of_an_archive_on_disk_is_one_line(tmp_path, picture, name):
    """Two hundred damages, drawn by a fixed seed."""
    side = DATASETS[name].shape[1]
    np.savez(tmp_path / "a.npz", np.stack([np.asarray(picture(i, side)) for i in range(2)]))
    ((path, _),) = prepare(name, tmp_path / "a.npz", tmp_path / "whole", lambda file, count: None)
    whole, rng, refusals = path.read_bytes(), random.Random(0), []
    for attempt in range(200):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        (folder / path.name).write_bytes(damaged(whole, rng))
        try:
            check(folder / path.name)
            load(name, folder / path.name, 0).samples(torch.arange(2))
        except ArchiveError as error:
            refusals.append(str(error))
        shutil.rmtree(folder)
    assert len(refusals) > 150
    assert [text for text in refusals if not text.isprintable()] == []


@pytest.mark.parametrize("style", ["zip", "tar", "tar.gz", "nested.tar", "npz"])
def test_whatever_is_wrong_with_a_source_is_one_line_and_leaves_nothing(tmp_path, good, style):
    """Sixty damages of each form."""
    source, buffer = tmp_path / f"s.{style}", io.BytesIO()
    if style == "zip":
        packed(tmp_path, good)
    elif style == "npz":
        np.savez(source, np.zeros((2, 64, 64, 3), np.uint8))
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz" if style == "tar.gz" else "w") as archive:
            for name, data in good.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        source.write_bytes(buffer.getvalue())
    if style == "nested.tar":
        with tarfile.open(source, "w") as outer:
            info = tarfile.TarInfo("faces.tar")
            info.size = len(buffer.getvalue())
            outer.addfile(info, io.BytesIO(buffer.getvalue()))
    whole, rng, refusals = source.read_bytes(), random.Random(1), []
    for attempt in range(60):
        source.write_bytes(damaged(whole, rng))
        try:
            prepare("ffhq64", source, tmp_path / "data", lambda file, count: None, threads=2)
        except ArchiveError as error:
            refusals.append(str(error))
        else:
            (tmp_path / "data" / "ffhq-64.zip").unlink()
        assert list((tmp_path / "data").glob("*")) == [], attempt
    assert len(refusals) > 15
    assert [text for text in refusals if not text.isprintable()] == []


def test_a_zip_of_a_version_that_python_does_not_know_is_one_line(tmp_path, good, large):
    """As a source, and as an archive that had been prepared."""
    source = packed(tmp_path, good)
    for path in (source, large):
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + 6] = 99
        path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"s\.zip: not a folder, zip or tar of images: zip file version 9\.9"):
        prepare("ffhq64", source, tmp_path / "other", lambda file, count: None)
    with pytest.raises(ArchiveError, match="not an archive that `fewstep prepare` made"):
        check(large)
