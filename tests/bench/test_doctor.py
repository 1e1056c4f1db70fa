"""`fewstep doctor`: what is here, what is not what it should be, and where to get it."""

import dataclasses
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fewstep.bench import published_files as weights
from fewstep.bench.commands.main import main
from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.bench.metrics.extractors.registry import INCEPTION
from fewstep.bench.plan.kinds import ReferenceParams
from fewstep.bench.plan.references import known_statistics
from fewstep.bench.stages import reference
from fewstep.datasets.prepare import prepare
from fewstep.datasets.registry import DATASETS
from fewstep.datasets.sources import Part

SUITE = """
name: mine
datasets: {}
teachers: {{name: pretrain, images: 1000}}
budgets: {{evaluations: 1000}}
nfe: [1]
metrics: rmse
methods: [{{name: euler}}]
"""


@pytest.fixture(autouse=True)
def _place(monkeypatch, tmp_path):
    """The command sets it for what it calls; here it must not outlive the test."""
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path))


def doctor(root, *words):
    result = CliRunner().invoke(main, ["doctor", *words, "--data-root", str(root)])
    lines = dict(line.split(": ", 1) for line in result.output.splitlines())
    return result.exit_code, {name.removeprefix("dataset "): line for name, line in lines.items()}


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """An archive of four faces, where FFHQ has as many."""
    monkeypatch.setitem(DATASETS.entries, "ffhq64", dataclasses.replace(DATASETS["ffhq64"], size=4))
    np.savez(tmp_path / "faces.npz", np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8))
    ((path, _),) = prepare("ffhq64", tmp_path / "faces.npz", tmp_path / "data", lambda file, count: None)
    return path


@pytest.fixture
def suite(tmp_path):
    def write(name):
        (tmp_path / "mine.yaml").write_text(SUITE.format(name))
        return str(tmp_path / "mine.yaml")

    return write


def test_without_a_suite_every_data_set_is_listed_and_none_is_required(faces):
    code, found = doctor(faces.parent)
    assert code == 0
    assert set(found) >= set(DATASETS)
    assert found["digits"] == "present (embedded)"
    size = f"{faces.stat().st_size / 1e6:.3g} MB"
    assert found["ffhq64"].startswith(f"present ({faces}; {size}; licence: collection CC BY-NC-SA 4.0")
    assert found["lsun-cat"].startswith("absent (")


@pytest.mark.parametrize("name", [name for name, spec in DATASETS.items() if spec.archive])
def test_what_is_absent_comes_with_its_place_command_size_and_licence(tmp_path, name):
    spec = DATASETS[name]
    line = doctor(tmp_path)[1][name]
    assert spec.source.page in line
    assert f"`fewstep prepare {name} --from {spec.source.form}`" in line
    assert f"about {spec.source.gigabytes:g} GB" in line
    assert spec.licence in line


def test_the_statistics_that_a_data_set_names_are_known():
    named = {name for spec in DATASETS.values() if spec.source for name in spec.source.statistics}
    assert named <= set(known_statistics())
    assert "published statistics: imagenet-64x64)" in doctor(Path("none"))[1]["imagenet64-edm"]


def test_a_suites_data_set_is_required(faces, suite, tmp_path):
    assert doctor(faces.parent, suite("ffhq64"))[0] == 0
    code, found = doctor(tmp_path / "none", suite("ffhq64"))
    assert code == 1
    assert found["ffhq64"].startswith("missing (")
    assert "https://github.com/NVlabs/ffhq-dataset" in found["ffhq64"]


def garbled(path):
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members["00000/img00000002.png"] = members["00000/img00000001.png"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return "wrong hash"


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])
    return "wrong hash"


def of_another_kind(path):
    np.savez(path.with_name("b.npz"), np.zeros((4, 64, 64, 3), np.uint8), np.arange(4))
    ((other, _),) = prepare("imagenet64-adm", path.with_name("b.npz"), path.parent, lambda file, count: None)
    os.replace(other, path)
    return "wrong preprocessing"


@pytest.mark.parametrize("broken", [garbled, cut_short, of_another_kind])
@pytest.mark.parametrize("asked", [True, False])
def test_an_archive_that_is_not_what_it_should_be_is_said_and_fails(faces, suite, broken, asked):
    state = broken(faces)
    code, found = doctor(faces.parent, *([suite("ffhq64")] if asked else []))
    assert code == 1
    assert found["ffhq64"].startswith(f"{state} ({faces}")


def test_a_wrong_number_of_images_or_captions_fails(faces, monkeypatch):
    monkeypatch.setitem(DATASETS.entries, "ffhq64", dataclasses.replace(DATASETS["ffhq64"], size=5))
    assert doctor(faces.parent)[1]["ffhq64"] == f"wrong count ({faces} has 4 images, ffhq64 has 5)"
    assert doctor(faces.parent)[0] == 1
    monkeypatch.setitem(DATASETS.entries, "ffhq64", dataclasses.replace(DATASETS["ffhq64"], size=4, captions=2))
    assert doctor(faces.parent)[1]["ffhq64"] == f"wrong count ({faces} has 0 captions, ffhq64 has 2)"


def test_images_that_are_read_one_by_one_serve_as_a_reference(tmp_path, monkeypatch):
    """The stage that measures them sees what a memory map would give it."""
    images = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    np.savez(tmp_path / "b.npz", images)
    ((_, facts),) = prepare("lsun-cat", tmp_path / "b.npz", tmp_path, lambda file, count: None)
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path))
    found, count = reference._images(
        ReferenceParams(dataset="lsun-cat", content=facts["sha256"], extractor="x", weights="x", device="cpu")
    )
    assert count == 3
    assert torch.equal(found(slice(1, 3)), torch.from_numpy(images[1:].transpose(0, 3, 1, 2).copy()))


def test_the_download_goes_through_torchvision_and_is_prepared(tmp_path, monkeypatch):
    from fewstep.datasets import cifar10

    asked = []

    class Torchvision:
        def __init__(self, root, download):
            asked.append((root, download))

    rows = [np.full((32, 32, 3), i, np.uint8) for i in range(3)]

    def splits(spec, source):
        records = (cifar10.Record(f"image {i}", lambda row=row: row, i) for i, row in enumerate(rows))
        return {spec.archive: Part(records)}

    monkeypatch.setattr(cifar10, "_torchvision", lambda: Torchvision)
    monkeypatch.setattr(cifar10, "splits", splits)
    result = CliRunner().invoke(main, ["prepare", "cifar10", "--download", "--data-root", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "cifar10-32.zip: 3 images" in result.output
    assert [download for _, download in asked] == [True]
    assert [entry.name for entry in tmp_path.iterdir()] == ["cifar10-32.zip"]


@pytest.mark.parametrize("error", [OSError("<urlopen error no route>"), RuntimeError("File not found or corrupted.")])
def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch, error):
    cifar = pytest.importorskip("torchvision.datasets").CIFAR10

    def fail(self):
        raise error

    monkeypatch.setattr(cifar, "download", fail)
    result = CliRunner().invoke(main, ["prepare", "cifar10", "--download", "--data-root", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr == f"fewstep: cifar10 could not be downloaded: {error}\n"
    assert list(tmp_path.iterdir()) == []


DINO, EDM = "dinov2_vitl14_pretrain.pth", "stats/cifar10-32x32.npz"


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The folder of weight files, and a suite that asks for FD-DINOv2, and for FID against EDM's statistics."""
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "weights" / "stats").mkdir(parents=True)
    asked = SUITE.format("cifar10").replace("metrics: rmse", "metrics: [fd_dinov2, fid]")
    (tmp_path / "mine.yaml").write_text(asked + "references: {fid: cifar10-32x32}\n")
    return tmp_path / "weights", str(tmp_path / "mine.yaml")


def publish(monkeypatch, folder, name, content):
    """The file, and the register as if it were what is published under the name."""
    (folder / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(weights.REGISTER, name, dataclasses.replace(weights.REGISTER[name], sha256=digest))


def test_a_suites_files_are_required_and_listed_with_size_and_licence(files, tmp_path, monkeypatch):
    folder, suite = files
    code, found = doctor(tmp_path, suite)
    assert code == 1
    asked = {name for name in found if name.startswith("file ")}
    assert asked == {f"file {name}" for name in (DINO, INCEPTION, EDM)}
    assert not [name for name in found if name.startswith("metric ")], "each is said once"
    url = weights.REGISTER[DINO].url
    command = f"`curl -fL --create-dirs -o {folder / DINO} {url}`"
    assert found[f"file {DINO}"] == f"missing (by {command}; about 1.22 GB; licence: Apache 2.0; for fd-dinov2)"
    # 1217, 96 and 33.6 MB.
    assert found["to fetch"] == "3 files, 1.35 GB"
    publish(monkeypatch, folder, DINO, b"x" * 2_340_000)
    assert doctor(tmp_path, suite)[1]["to fetch"] == "2 files, 130 MB"
    line = doctor(tmp_path, suite)[1][f"file {DINO}"]
    assert line == f"present ({folder / DINO}; 2.34 MB; licence: Apache 2.0; for fd-dinov2)"


@pytest.mark.parametrize("asked", [True, False])
def test_a_file_that_is_not_what_is_published_fails_asked_for_or_not(files, tmp_path, monkeypatch, asked):
    folder, suite = files
    words = [suite] if asked else []
    (folder / INCEPTION).write_bytes(b"another network")
    code, found = doctor(tmp_path, *words)
    assert code == 1
    assert found[f"file {INCEPTION}"].startswith(f"wrong hash ({folder / INCEPTION} (another hash than 6726825d")
    (folder / INCEPTION).unlink()
    (folder / EDM).write_bytes(b"<!doctype html>")
    code, found = doctor(tmp_path, *words)
    assert code == 1
    assert found[f"file {EDM}"].startswith(f"cut short ({folder / EDM} (cut short, or not what its name says), get it")


def test_without_a_suite_no_file_is_required(files, tmp_path):
    code, found = doctor(tmp_path)
    assert code == 0
    assert "to fetch" not in found
    assert {f"file {name}" for name in weights.REGISTER} <= set(found)
    assert all(found[f"file {name}"].startswith(("absent (by `curl", "absent (by `save")) for name in weights.REGISTER)


@pytest.mark.parametrize("name", [name for name, known in EXTRACTORS.items() if hasattr(known, "model")])
def test_the_size_that_is_said_is_that_of_the_network(name):
    """At four bytes for each parameter, two where the file is compressed."""
    model = EXTRACTORS[name].model
    with torch.device("meta"):
        if name.startswith("dinov2"):
            network = pytest.importorskip("timm").create_model(model, pretrained=False, num_classes=0)
        else:
            clip = pytest.importorskip("open_clip")
            options = {key: value for key, value in clip.get_model_config(model).items() if not key.startswith("hf_")}
            network = clip.model.CLIP(**options)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    file = weights.REGISTER[EXTRACTORS[name].files[0]]
    bytes_each = 2 if "compressed" in file.name else 4
    assert file.megabytes == pytest.approx(bytes_each * parameters / 1e6, rel=2e-3)
