"""`fewstep doctor` on data sets: what is here, what is not what it should be, and where to get it."""

import dataclasses
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fewstep.bench.cli import main
from fewstep.bench.references import known_statistics
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
    monkeypatch.setitem(DATASETS, "ffhq64", dataclasses.replace(DATASETS["ffhq64"], size=4))
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
    assert found["ffhq64"].startswith(f"present ({faces}; licence: collection CC BY-NC-SA 4.0")
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
    monkeypatch.setitem(DATASETS, "ffhq64", dataclasses.replace(DATASETS["ffhq64"], size=5))
    assert doctor(faces.parent)[1]["ffhq64"] == f"wrong count ({faces} has 4 images, ffhq64 has 5)"
    assert doctor(faces.parent)[0] == 1
    monkeypatch.setitem(DATASETS, "ffhq64", dataclasses.replace(DATASETS["ffhq64"], size=4, captions=2))
    assert doctor(faces.parent)[1]["ffhq64"] == f"wrong count ({faces} has 0 captions, ffhq64 has 2)"


def test_images_that_are_read_one_by_one_serve_as_a_reference(tmp_path, monkeypatch):
    """The stage that measures them sees what a memory map would give it."""
    images = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    np.savez(tmp_path / "b.npz", images)
    ((_, facts),) = prepare("lsun-cat", tmp_path / "b.npz", tmp_path, lambda file, count: None)
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path))
    found, count = reference._images({"dataset": "lsun-cat", "content": facts["sha256"]})
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
