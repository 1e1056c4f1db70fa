"""From the forms in which people have CIFAR-10 to the archive, and back to the same pixels."""

import hashlib
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from fewstep import datasets
from fewstep.bench.commands.main import main
from fewstep.datasets import archive
from fewstep.datasets.cifar10 import BATCHES
from fewstep.datasets.prepare import prepare
from fewstep.datasets.registry import DATASETS, ArchiveError, read_facts
from fewstep.datasets.specs.cifar10 import CLASSES

TRAIN, TEST = 3, 1
"""Images per class."""


def picture(seed, side=32, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noise in CIFAR-10's folders by class, as JPEG."""
    root = tmp_path_factory.mktemp("images")
    for i, name in enumerate(CLASSES):
        for split, count in (("train", TRAIN), ("test", TEST)):
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                picture(100 * i + 10 * k + (split == "test")).save(root / split / name / f"{k:04d}.jpg", quality=95)
    return root


def as_zip(folder, target):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(folder.rglob("*.jpg"), reverse=True):
            packed.write(file, file.relative_to(folder))
    return target


def as_tar(folder, target):
    with tarfile.open(target, "w:xz") as packed:
        packed.add(folder, "cifar")
    return target


def make(source, root):
    return prepare("cifar10", source, root, lambda file, count: None)


def get(root, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DATA", str(root))
    return datasets.get("cifar10")


def test_folder_zip_and_tar_make_the_same_archive(folder, tmp_path):
    forms = {"folder": folder, "zip": as_zip(folder, tmp_path / "c.zip"), "tar": as_tar(folder, tmp_path / "c.tar.xz")}
    made = {name: make(source, tmp_path / name) for name, source in forms.items()}
    assert [facts["count"] for _, facts in made["folder"]] == [10 * TRAIN, 10 * TEST]
    hashes = {name: [facts["sha256"] for _, facts in parts] for name, parts in made.items()}
    assert hashes["folder"] == hashes["zip"] == hashes["tar"]


def test_pixels_and_labels_come_back_as_pillow_reads_the_files(folder, tmp_path, monkeypatch):
    make(folder, tmp_path)
    data = get(tmp_path, monkeypatch)
    files = sorted((folder / "train").rglob("*.jpg"))
    expected = np.stack([np.asarray(Image.open(file)) for file in files]).transpose(0, 3, 1, 2)
    for _ in range(2):
        assert torch.equal(data.images, torch.from_numpy(expected))
        assert data.targets.tolist() == [CLASSES.index(file.parent.name) for file in files]
        data = get(tmp_path, monkeypatch)
    assert (data.shape, data.classes, len(data)) == (DATASETS["cifar10"].shape, 10, 30)


def test_the_archive_is_one_that_edm_and_stylegan_read(folder, tmp_path):
    """An uncompressed zip, its images named by index, dataset.json with a label for each."""
    (path, facts), _ = make(folder, tmp_path)
    with zipfile.ZipFile(path) as packed:
        assert {info.compress_type for info in packed.infolist()} == {zipfile.ZIP_STORED}
        labels = json.loads(packed.read("dataset.json"))["labels"]
        assert [name for name, _ in labels] == [f"00000/img{i:08d}.png" for i in range(30)]
        image = Image.open(io.BytesIO(packed.read(labels[7][0])))
        assert (image.size, image.mode) == ((32, 32), "RGB")
    assert facts == read_facts(path)
    assert {"source", "preprocessing", "licence"} <= facts.keys()


def test_the_hash_is_of_pixels_and_labels_in_order(folder, tmp_path):
    (path, facts), _ = make(folder, tmp_path)
    digest = hashlib.sha256()
    with zipfile.ZipFile(path) as packed:
        listed = json.loads(packed.read("dataset.json"))["labels"]
        for name, _ in listed:
            digest.update(np.asarray(Image.open(io.BytesIO(packed.read(name)))).tobytes())
    digest.update(json.dumps([label for _, label in listed]).encode())
    assert digest.hexdigest() == facts["sha256"]


def write_batches(root):
    """CIFAR-10's own format, with few images: pickled rows of 3072 bytes, red then green then blue."""
    folder = root / BATCHES
    folder.mkdir(parents=True)
    rng, sums = np.random.default_rng(0), {}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        rows = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
        content = pickle.dumps({"data": rows, "labels": [int(k) for k in rng.integers(0, 10, 4)]})
        (folder / name).write_bytes(content)
        sums[name] = (hashlib.md5(content).hexdigest(), rows)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CLASSES)}))
    return folder, sums


@pytest.fixture
def batches(tmp_path, monkeypatch):
    """(folder of batches, their rows); torchvision is told their hashes."""
    cifar = pytest.importorskip("torchvision.datasets").CIFAR10
    folder, sums = write_batches(tmp_path / "original")
    known = [[name, digest] for name, (digest, _) in sums.items()]
    monkeypatch.setattr(cifar, "train_list", known[:5])
    monkeypatch.setattr(cifar, "test_list", known[5:])
    meta = hashlib.md5((folder / "batches.meta").read_bytes()).hexdigest()
    monkeypatch.setattr(cifar, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return folder, {name: rows for name, (_, rows) in sums.items()}


@pytest.mark.parametrize("form", ["folder", "parent", "tar.gz"])
def test_the_original_batches_keep_their_order_and_pixels(batches, tmp_path, monkeypatch, form):
    folder, rows = batches
    source = {"folder": folder, "parent": folder.parent}.get(form)
    if source is None:
        source = tmp_path / "cifar-10-python.tar.gz"
        with tarfile.open(source, "w:gz") as packed:
            packed.add(folder, BATCHES)
    (_, facts), (_, tests) = make(source, tmp_path / "made")
    assert (facts["count"], tests["count"]) == (20, 4)
    expected = np.concatenate([rows[f"data_batch_{i}"] for i in range(1, 6)]).reshape(-1, 3, 32, 32)
    assert torch.equal(get(tmp_path / "made", monkeypatch).images, torch.from_numpy(expected))


def test_batches_with_other_hashes_are_refused(batches, tmp_path):
    folder, _ = batches
    (folder / "data_batch_3").write_bytes(b"something else")
    with pytest.raises(ArchiveError, match="not the original CIFAR-10 batches, by their hashes"):
        make(folder, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def truncated(root):
    data = (root / "train" / "cat" / "0001.jpg").read_bytes()
    (root / "train" / "cat" / "0001.jpg").write_bytes(data[: len(data) // 2])
    return r"train/cat/0001.jpg: not a whole image"


def other_size(root):
    picture(0, side=33).save(root / "train" / "cat" / "0001.jpg")
    return r"train/cat/0001.jpg: 33x33 pixels, not 32x32"


def grey(root):
    picture(0, mode="L").save(root / "train" / "cat" / "0001.jpg")
    return r"train/cat/0001.jpg: mode L, not RGB"


def not_an_image(root):
    (root / "train" / "cat" / "0001.jpg").write_text("hello")
    return r"train/cat/0001.jpg: not a whole image"


def unknown_class(root):
    (root / "train" / "cat").rename(root / "train" / "kitten")
    return r"train/kitten/0000.jpg: kitten is none of the classes airplane, "


def bomb(root):
    """A PNG that says it is larger than Pillow agrees to decode; its few bytes are all it has."""
    header = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    (root / "train" / "cat" / "0001.png").write_bytes(header + b"\x00" * 32)
    return r"train/cat/0001.png: "


@pytest.mark.parametrize("broken", [truncated, other_size, grey, not_an_image, unknown_class, bomb])
def test_a_broken_image_is_one_line_with_its_name_and_nothing_is_written(folder, tmp_path, broken):
    source = tmp_path / "source"
    shutil.copytree(folder, source)
    message = broken(source)
    result = CliRunner().invoke(
        main, ["prepare", "cifar10", "--from", str(source), "--data-root", str(tmp_path / "made")]
    )
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"fewstep: {message}")
    assert not (tmp_path / "made").exists()


def test_members_that_point_outside_are_read_and_never_written(folder, tmp_path):
    source = tmp_path / "evil.zip"
    with zipfile.ZipFile(source, "w") as packed:
        for name in CLASSES:
            packed.write(folder / "train" / name / "0000.jpg", f"../../outside/train/{name}/0000.jpg")
    (path, facts), *rest = make(source, tmp_path / "made")
    assert (facts["count"], rest) == (10, [])
    with zipfile.ZipFile(path) as packed:
        assert not [name for name in packed.namelist() if ".." in name]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["evil.zip", "made"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cifar11", "--from", "x"], "unknown dataset 'cifar11'; did you mean 'cifar10'?"),
        (["cifar10"], "prepare cifar10: give either --from SOURCE or --download"),
        (["ffhq64", "--download"], "ffhq64: only cifar10 can be downloaded; https://github.com/NVlabs/ffhq-dataset: "),
        (["cifar10", "--from", "nowhere"], "nowhere: no such file or folder"),
        (["cifar10", "--from", __file__], "not a folder, zip or tar of images"),
        (["digits", "--from", "x"], "digits is embedded: there is nothing to prepare"),
    ],
)
def test_a_wrong_source_is_one_line(tmp_path, arguments, message):
    result = CliRunner().invoke(main, ["prepare", *arguments, "--data-root", str(tmp_path)])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match=r"empty: there are no images for cifar10-32\.zip"):
        make(tmp_path / "empty", tmp_path / "made")


def test_an_archive_whose_pixels_are_not_what_it_says_is_refused(folder, tmp_path, monkeypatch):
    (path, _), _ = make(folder, tmp_path / "made")
    with zipfile.ZipFile(path) as packed:
        members = {info.filename: packed.read(info) for info in packed.infolist()}
    buffer = io.BytesIO()
    picture(5).save(buffer, format="PNG")
    members["00000/img00000003.png"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    with pytest.raises(ArchiveError, match="its images have another hash than it says; prepare it again"):
        get(tmp_path / "made", monkeypatch)
    assert not list(path.parent.glob("*.npy"))


def test_a_zip_that_was_not_prepared_is_refused(tmp_path):
    as_zip(Path(archive.__file__).parent, tmp_path / "other.zip")
    with pytest.raises(ArchiveError, match="not an archive that `fewstep prepare` made"):
        read_facts(tmp_path / "other.zip")
