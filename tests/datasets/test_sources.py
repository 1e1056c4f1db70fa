"""Every data set from every form that people have it in; the pixels are those of the form's own library."""

import copy
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.datasets import arrays
from fewstep.datasets.archive import ArchivedSet
from fewstep.datasets.base import ImageSet
from fewstep.datasets.facts import ArchiveError
from fewstep.datasets.preprocess import CONVENTIONS
from fewstep.datasets.registry import DATASETS

PHOTOGRAPHS = [name for name, spec in DATASETS.items() if spec.source and name != "cifar10"]
WNIDS = [f"n{10_000_000 + 7919 * i % 1000 * 13:08d}" for i in range(1000)]
"""A thousand folders, in an order that is not theirs."""


def everything(data):
    """uint8 (N, H, W, C)."""
    return data.images[:].permute(0, 2, 3, 1).numpy()


def crops(name, images):
    convention, side = DATASETS[name].source.preprocessing, DATASETS[name].shape[1]
    return np.stack([CONVENTIONS[convention](image.convert("RGB"), side) for image in images])


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory, picture):
    """ILSVRC2012's folders with an image for each class and three for one; grey and CMYK ones are among them."""
    root = tmp_path_factory.mktemp("imagenet") / "CLS-LOC"
    for i, wnid in enumerate(WNIDS):
        (root / "train" / wnid).mkdir(parents=True)
        for k in range(3 if i == 500 else 1):
            mode = {3: "L", 4: "CMYK"}.get(i, "RGB")
            image = picture(10 * i + k, 70 + i % 9, 66 + i % 5, mode)
            image.save(root / "train" / wnid / f"{wnid}_{k}.JPEG", format="JPEG")
    (root / "val").mkdir()
    picture(1, 80).save(root / "val" / "ILSVRC2012_val_00000001.JPEG", format="JPEG")
    return root


@pytest.mark.parametrize("name", ["imagenet64-adm", "imagenet64-edm", "imagenet128-adm"])
def test_imagenet_in_folders_is_what_torchvision_reads(imagenet, prepared, name):
    folder = pytest.importorskip("torchvision.datasets").ImageFolder(str(imagenet / "train"))
    data, (facts,) = prepared(name, imagenet)
    assert data.targets.tolist() == [label for _, label in folder.samples]
    np.testing.assert_array_equal(everything(data), crops(name, [image for image, _ in folder]))
    assert facts["count"] == len(folder) == 1002
    assert facts["preprocessing"] == DATASETS[name].source.preprocessing


def test_zip_and_tar_of_folders_are_the_same_as_the_folders(imagenet, prepared, tmp_path):
    with zipfile.ZipFile(tmp_path / "i.zip", "w") as packed:
        for file in sorted(imagenet.rglob("*.JPEG"), reverse=True):
            packed.write(file, file.relative_to(imagenet.parent))
    for kind in ("", "gz"):
        with tarfile.open(tmp_path / f"i.tar{kind}", f"w:{kind}") as packed:
            packed.add(imagenet, "i")
    sources = [imagenet, tmp_path / "i.zip", tmp_path / "i.tar", tmp_path / "i.targz"]
    assert len({prepared("imagenet64-edm", source)[1][0]["sha256"] for source in sources}) == 1


@pytest.fixture
def published(imagenet, tmp_path):
    """ILSVRC2012_img_train.tar: a tar for each class, which holds its images without a folder."""
    with tarfile.open(tmp_path / "ILSVRC2012_img_train.tar", "w") as outer:
        for folder in sorted((imagenet / "train").iterdir()):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as inner:
                for file in folder.iterdir():
                    inner.add(file, file.name)
            info = tarfile.TarInfo(f"{folder.name}.tar")
            info.size = buffer.tell()
            buffer.seek(0)
            outer.addfile(info, buffer)
    return tmp_path / "ILSVRC2012_img_train.tar"


def test_imagenets_tar_of_tars_is_the_same_as_its_folders(imagenet, published, prepared):
    (folders,), (tars,) = (prepared("imagenet64-edm", source)[1] for source in (imagenet, published))
    assert (tars["sha256"], tars["count"]) == (folders["sha256"], 1002)


def test_a_class_that_was_cut_short_before_it_was_packed_is_named(picture, encoded, prepared, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as inner:
        for i in range(3):
            info = tarfile.TarInfo(f"{i}.JPEG")
            info.size = len(data := encoded(picture(i, 70), "JPEG"))
            inner.addfile(info, io.BytesIO(data))
            if i == 1:
                cut = inner.offset
    with tarfile.open(tmp_path / "train.tar", "w") as outer:
        info = tarfile.TarInfo("n01440764.tar")
        info.size = cut
        outer.addfile(info, io.BytesIO(buffer.getvalue()[:cut]))
    with pytest.raises(ArchiveError, match=r"^n01440764\.tar: not a tar of images: cut short"):
        prepared("imagenet64-edm", tmp_path / "train.tar")


def test_a_class_that_is_not_a_tar_is_named(imagenet, published, prepared):
    wnid = sorted(WNIDS)[3]
    data = bytearray(published.read_bytes())
    start = data.index(f"{wnid}.tar".encode()) + 512
    data[start : start + 512] = b"<html>404</html>" * 32
    published.write_bytes(data)
    with pytest.raises(ArchiveError, match=f"^{wnid}.tar: not a tar of images: "):
        prepared("imagenet64-edm", published)


def edm_zip(target, images, labels, inside=""):
    """What EDM's and StyleGAN3's dataset_tool.py write."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        names = [f"{i // 2:05d}/img{i:08d}.png" for i in range(len(images))]
        for name, image in zip(names, images, strict=True):
            buffer = io.BytesIO()
            image.save(buffer, format="png", compress_level=0, optimize=False)
            packed.writestr(inside + name, buffer.getvalue())
        listed = None if labels is None else [[n, k] for n, k in zip(names, labels, strict=True)]
        packed.writestr(inside + "dataset.json", json.dumps({"labels": listed}))
    return target


@pytest.mark.parametrize("name", ["imagenet64-adm", "imagenet64-edm", "imagenet128-adm", "cifar10", "afhqv2-64"])
@pytest.mark.parametrize("inside", ["", "set/"])
def test_a_zip_with_dataset_json_keeps_pixels_and_labels(picture, prepared, tmp_path, name, inside):
    spec = DATASETS[name]
    images = [picture(i, spec.shape[1]) for i in range(7)]
    labels = [(5 * i + 2) % spec.classes for i in range(7)]
    data, facts = prepared(name, edm_zip(tmp_path / "edm.zip", images, labels, inside))
    np.testing.assert_array_equal(everything(data), np.stack(images))
    assert data.labels(torch.arange(7)).tolist() == labels
    assert len(facts) == 1


def test_our_own_archive_is_a_source_again(picture, prepared, tmp_path):
    images = [picture(i, 64) for i in range(5)]
    _, (facts,) = prepared("imagenet64-edm", edm_zip(tmp_path / "edm.zip", images, [1, 0, 999, 3, 2]))
    again = shutil.copy(tmp_path / "data" / DATASETS["imagenet64-edm"].archive, tmp_path / "again.zip")
    assert prepared("imagenet64-edm", tmp_path / again)[1][0]["sha256"] == facts["sha256"]


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("name", ["ffhq64", "ffhq256"])
def test_ffhq_is_resized_without_a_crop_and_has_no_labels(picture, prepared, tmp_path, name, form):
    source = tmp_path / "images1024x1024"
    for i in range(3):
        (source / f"{i // 2:05d}").mkdir(parents=True, exist_ok=True)
        picture(i, 1024).save(source / f"{i // 2:05d}" / f"{i:05d}.png", compress_level=0)
    files = sorted(source.rglob("*.png"))
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "ffhq.zip", "w") as packed:
            for file in files:
                packed.write(file, file.relative_to(source))
    data, _ = prepared(name, source if form == "folder" else tmp_path / "ffhq.zip")
    side = DATASETS[name].shape[1]
    expected = [Image.open(file).resize((side, side), Image.Resampling.LANCZOS) for file in files]
    np.testing.assert_array_equal(everything(data), np.stack(expected))
    assert data.labels(torch.arange(3)) is None


@pytest.mark.parametrize(("name", "other"), [("afhqv1-64", "val"), ("afhqv2-64", "test")])
def test_afhq_joins_training_and_test_images_with_the_animal_as_class(picture, prepared, tmp_path, name, other):
    source, files = tmp_path / "afhq", []
    for split in ("train", other):
        for k, animal in enumerate(("wild", "cat", "dog")):
            (source / split / animal).mkdir(parents=True)
            file = source / split / animal / f"{k}.png"
            picture(k, 512).save(file, compress_level=0)
            files.append(file)
    data, (facts,) = prepared(name, source)
    files.sort(key=lambda file: str(file))
    assert data.targets.tolist() == [("cat", "dog", "wild").index(file.parent.name) for file in files]
    np.testing.assert_array_equal(everything(data), crops(name, map(Image.open, files)))
    assert facts["count"] == 6


def write_lmdb(folder, values):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder), map_size=2**26) as database, database.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    return folder


@pytest.mark.parametrize("name", ["lsun-bedroom", "lsun-cat", "lsun-church"])
def test_an_lsun_database_is_read_in_the_order_of_its_keys(picture, encoded, prepared, tmp_path, name):
    lmdb = pytest.importorskip("lmdb")
    styles = ["WEBP", "JPEG", "WEBP", "PNG"]
    values = {
        f"{key:040x}".encode(): encoded(picture(key, 256 + 30 * i, 256), styles[i])
        for i, key in enumerate((901, 17, 400, 3))
    }
    source = write_lmdb(tmp_path / "church_outdoor_train_lmdb", values)
    data, (facts,) = prepared(name, source)
    with lmdb.open(str(source), readonly=True, lock=False) as database, database.begin() as transaction:
        images = [Image.open(io.BytesIO(value)) for _, value in transaction.cursor()]
        np.testing.assert_array_equal(everything(data), crops(name, images))
    assert isinstance(data, ArchivedSet)
    assert (facts["count"], data.shape) == (4, (3, 256, 256))


def test_a_database_that_is_still_packed_is_to_be_unpacked(picture, encoded, prepared, tmp_path):
    source = write_lmdb(tmp_path / "cat_lmdb", {b"0": encoded(picture(0, 256))})
    with zipfile.ZipFile(tmp_path / "cat_lmdb.zip", "w") as packed:
        for file in source.iterdir():
            packed.write(file, file.relative_to(tmp_path))
    with pytest.raises(ArchiveError, match=r"cat_lmdb\.zip: it holds a database, data\.mdb, .* unpack it first"):
        prepared("lsun-cat", tmp_path / "cat_lmdb.zip")


def test_a_folder_of_lsun_images_is_read_too(picture, prepared, tmp_path):
    (tmp_path / "bedroom").mkdir()
    for i in range(3):
        picture(i, 300, 256).save(tmp_path / "bedroom" / f"{i}.webp")
    files = sorted((tmp_path / "bedroom").iterdir())
    data, _ = prepared("lsun-bedroom", tmp_path / "bedroom")
    np.testing.assert_array_equal(everything(data), crops("lsun-bedroom", map(Image.open, files)))


def as_npz(stem, rows, labels):
    np.savez(stem.with_suffix(".npz"), data=rows, labels=labels, mean=rows.mean(0))


def as_pickle(stem, rows, labels, protocol=4):
    stem.write_bytes(pickle.dumps({"data": rows, "labels": labels.tolist(), "mean": rows.mean(0)}, protocol))


@pytest.mark.parametrize("write", [as_npz, as_pickle, partial(as_pickle, protocol=2)])
def test_the_downsampled_imagenet_keeps_its_own_order_and_labels_from_zero(prepared, tmp_path, monkeypatch, write):
    """Ten batches, of which the tenth comes after the ninth; rows of a red, a green and a blue plane."""
    read, pixels = [], arrays.downsampled_pixels
    monkeypatch.setattr(arrays, "downsampled_pixels", lambda file, *rest: read.append(file.stem) or pixels(file, *rest))
    rng, source, batches = np.random.default_rng(0), tmp_path / "npz", {}
    source.mkdir()
    for stem in [*(f"train_data_batch_{i}" for i in range(1, 11)), "val_data"]:
        rows, labels = rng.integers(0, 256, (3, 12288), dtype=np.uint8), rng.integers(1, 1001, 3)
        batches[stem] = (rows, labels)
        write(source / stem, rows, labels)
    data, (facts, held_out) = prepared("imagenet64-chrabaszcz", source)
    train = [batches[f"train_data_batch_{i}"] for i in range(1, 11)]
    expected = np.concatenate([rows for rows, _ in train]).reshape(-1, 3, 64, 64)
    np.testing.assert_array_equal(data.images.numpy(), expected)
    assert data.targets.tolist() == [int(label) - 1 for _, labels in train for label in labels]
    assert (facts["count"], held_out["count"]) == (30, 3)
    assert "published order" in facts["labels"]
    assert sorted(read) == sorted(batches), "a batch of 1.6 GB is read once, by whichever thread"


def test_of_a_batch_in_both_forms_the_npz_is_read(prepared, tmp_path):
    rows, labels = np.random.default_rng(0).integers(0, 256, (3, 12288), dtype=np.uint8), np.array([3, 1, 2])
    as_npz(tmp_path / "train_data_batch_1", rows, labels)
    (tmp_path / "train_data_batch_1").write_bytes(b"half a down")
    (tmp_path / "train_data_batch_1.md5").write_text("not a batch")
    data, _ = prepared("imagenet64-chrabaszcz", tmp_path)
    np.testing.assert_array_equal(data.images.numpy(), rows.reshape(-1, 3, 64, 64))


@pytest.mark.parametrize("name", ["imagenet64-adm", "imagenet64-edm", "ffhq64", "lsun-cat", "cifar10", "afhqv2-64"])
def test_a_sample_batch_of_guided_diffusion_is_taken_as_it_is(prepared, tmp_path, name):
    spec = DATASETS[name]
    images = np.random.default_rng(0).integers(0, 256, (3, *spec.shape[1:], 3), dtype=np.uint8)
    labels = np.array([2, 0, 1])
    np.savez(tmp_path / "batch.npz", images, labels)
    data, _ = prepared(name, tmp_path / "batch.npz")
    np.testing.assert_array_equal(everything(data), images)
    found = data.labels(torch.arange(3))
    assert found is None if not spec.classes else found.tolist() == [2, 0, 1]


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_registry_says_where_a_data_set_comes_from_and_what_is_done_to_it(name):
    spec = DATASETS[name]
    assert spec.source.page.startswith("https://")
    assert spec.licence
    assert spec.source.gigabytes > spec.size * spec.shape[1] ** 2 * 1e-9
    assert spec.source.preprocessing in CONVENTIONS
    assert str(spec.shape[1]) in spec.archive
    assert callable(spec.source.read())
    assert not spec.quality


def test_no_two_data_sets_share_an_archive_unless_they_say_so():
    archives = [spec.archive for spec in DATASETS.values() if spec.archive and not spec.archive_of]
    archives += [spec.source.held_out for spec in DATASETS.values() if spec.source and spec.source.held_out]
    assert len(set(archives)) == len(archives)


def test_large_images_are_decoded_when_they_are_asked_for(picture, prepared, tmp_path, encoded):
    """The same interface as the memory map: slices, indices in any order, samples in [-1, 1]; workers may have it."""
    source = tmp_path / "faces"
    source.mkdir()
    for i in range(6):
        picture(i, 256).save(source / f"{i}.png")
    data, _ = prepared("ffhq256", source)
    images = torch.from_numpy(np.stack([np.asarray(picture(i, 256)) for i in range(6)]).transpose(0, 3, 1, 2).copy())
    assert not isinstance(data, ImageSet)
    assert (len(data), data.shape) == (6, (3, 256, 256))
    assert torch.equal(data.images[1:3], images[1:3])
    rows = torch.tensor([5, 0, 5])
    torch.testing.assert_close(data.samples(rows), images[rows].float() / 127.5 - 1)
    assert torch.equal(copy.deepcopy(data).images[2:4], images[2:4])
    index, packed = sorted((tmp_path / "data").iterdir())
    assert index.suffix == ".npy"
    assert packed.stat().st_size > images.numel() > 100 * index.stat().st_size
