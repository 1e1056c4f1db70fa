"""What a published network's file says before its tensors are read."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fewstep.bench.errors import InputError, Mistakes
from fewstep.bench.plan import checkpoints
from fewstep.bench.suite.loading import load
from fewstep.methods import published_networks
from fewstep.methods.published_networks import NETWORKS as PUBLISHED
from fewstep.methods.specs.teachers.checkpoint import CheckpointOptions
from fewstep.methods.teachers import forms
from fewstep.methods.teachers.forms import Checkpoint, miniature, writing
from fewstep.methods.teachers.forms.base import tensors_digest
from fewstep.methods.teachers.forms.shapes import SHAPES, classifier
from fewstep.tests.methods.published import NETWORKS, tiny, write


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_each_family_is_of_its_shape_and_of_no_other(name, tmp_path):
    file = write(name, tmp_path)
    forms.read(file).save(tmp_path / "kept.safetensors")
    for path in (file, tmp_path / "kept.safetensors"):
        assert checkpoints.fault(path) is None
        assert checkpoints.fault(path, (3, 8, 8)) is None
        assert checkpoints.fault(path, (3, 32, 32)) == "its images have shape (3, 8, 8), the data set's (3, 32, 32)"


def test_an_edm_pickle_tells_its_shape_and_classes_without_torch(tmp_path):
    file = tmp_path / "mine.pkl"
    network = PUBLISHED["edm-cifar10-32x32-uncond-vp"]
    writing.write(file, miniature.settings(network, 8), seed=0)
    code = (
        "import sys; from pathlib import Path; from fewstep.bench.suite import first_bytes as f; "
        f"print(f.told(Path({str(file)!r}))); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "shape=(3, 8, 8), classes=0, form='edm'" in done.stdout
    options = CheckpointOptions(file=str(file))
    assert checkpoints.fault(file, (3, 8, 8), options, classes=10) is None
    assert checkpoints.fault(file, (1, 8, 8), options) == "its images have shape (3, 8, 8), the data set's (1, 8, 8)"


def test_files_of_older_versions_of_torch_are_known(tmp_path):
    file = write("ddpm", tmp_path, _use_new_zipfile_serialization=False)
    assert checkpoints.fault(file, (3, 8, 8)) is None


def published(name, file):
    """The published file with every name and shape, and each tensor's numbers stored once."""
    network = PUBLISHED[name]
    state = {key: torch.zeros(()).expand(shape) for key, shape in shapes(network).items()}
    torch.save(writing.content(Checkpoint({"form": network.form}, state)), file)


def shapes(network):
    make = classifier if network.kind == "classifier" else SHAPES[network.form]
    return make(dict(network.config["network"]))


@pytest.mark.parametrize(
    "name", ["64x64_diffusion", "otcfm_cifar10_weights_step_400000", "ema_cifar10", "cifar10_ncsnpp_continuous"]
)
def test_a_published_file_is_known_by_its_tensors_under_any_name(name, tmp_path):
    published(name, tmp_path / "mine.pt")
    network = PUBLISHED[name]
    assert checkpoints.fault(tmp_path / "mine.pt", network.shape) is None
    assert f"shape {network.shape}" in (checkpoints.fault(tmp_path / "mine.pt", (3, 8, 8)) or "")


def test_files_of_one_architecture_are_told_apart_by_their_names(tmp_path):
    published("cd_imagenet64_lpips", tmp_path / "mine.pt")
    assert "may be any of edm_imagenet64_ema, cd_" in (checkpoints.fault(tmp_path / "mine.pt", (3, 64, 64)) or "")
    published("cd_imagenet64_lpips", tmp_path / "cd_imagenet64_lpips.pt")
    assert checkpoints.fault(tmp_path / "cd_imagenet64_lpips.pt", (3, 64, 64), student=True) is None
    assert "a few-step student" in (checkpoints.fault(tmp_path / "cd_imagenet64_lpips.pt", (3, 64, 64)) or "")


def test_every_published_file_that_holds_no_settings_is_known_by_names_and_shapes(tmp_path):
    for name, network in PUBLISHED.items():
        if network.form == "edm":
            continue
        digest = published_networks.shapes_digest(shapes(network))
        assert published_networks.with_tensors([digest], name) == network


def test_a_tree_of_flax_is_known_by_its_tensors(tmp_path, monkeypatch):
    file = write("pd", tmp_path)
    file.with_suffix(".json").unlink()
    assert "those of no published network" in (checkpoints.fault(file, (3, 8, 8)) or "")
    made = tiny("pd")
    known = replace(PUBLISHED["64x64_diffusion"], shape=(3, 8, 8), classes=0, tensors=tensors_digest(made.state))
    monkeypatch.setattr(published_networks, "NETWORKS", {"net": known})
    assert checkpoints.fault(file, (3, 8, 8)) is None
    assert "shape (3, 8, 8)" in (checkpoints.fault(file, (3, 32, 32)) or "")


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_network_without_settings_is_refused_before_its_task(name, zipped, tmp_path):
    options = {} if name in ("pd", "pd-both") else {"_use_new_zipfile_serialization": zipped}
    file = write(name, tmp_path, **options)
    file.with_suffix(".json").unlink()
    reason = checkpoints.fault(file, (3, 8, 8)) or ""
    assert f"write them to {name}.json beside it, or into `config`" in reason
    with pytest.raises(forms.CheckpointError, match="no published network"):
        forms.read(file)


def test_a_published_name_over_other_tensors_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "64x64_diffusion.pt")
    assert "those of no published network" in (checkpoints.fault(tmp_path / "64x64_diffusion.pt", (3, 64, 64)) or "")
    torch.save({}, tmp_path / "mine.pt")
    assert "no tensors with names" in (checkpoints.fault(tmp_path / "mine.pt", (3, 32, 32)) or "")
    options = CheckpointOptions(file="mine.pt", config={"network": {"image_size": 16}})
    assert "shape (3, 16, 16)" in (checkpoints.fault(tmp_path / "mine.pt", (3, 32, 32), options) or "")


def test_what_a_file_names_is_not_run_when_its_names_are_read(tmp_path):
    torch.save({"weight": Touch(tmp_path / "ran")}, tmp_path / "net.pt")
    assert "no tensors with names" in (checkpoints.fault(tmp_path / "net.pt", (3, 8, 8)) or "")
    assert not (tmp_path / "ran").exists()


class Touch:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.pt", b"", "the file is empty"),
        ("net.pt", b"<!doctype html>", "neither torch.save nor flax wrote it"),
        ("net.pt", b"\x80\x04N.", "neither torch.save nor flax wrote it"),
        ("net.pt", b"PK\x03\x04 cut", "cut short"),
        ("net.pkl", b"\x80\x04N", "not a whole pickle"),
        ("net.safetensors", b"\xff" * 8, "no header of safetensors, or cut short"),
        ("net.safetensors", b"\x02" + b"\0" * 7 + b"[]", "no header of safetensors"),
        ("net.safetensors", b"\x02" + b"\0" * 7 + b"{}", "no configuration in its header, nor a file net.json"),
    ],
)
def test_what_no_network_begins_with_is_refused(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert message in (checkpoints.fault(tmp_path / name, (3, 8, 8)) or "")


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, '{"network": 3}', '{"form": "edm"}'])
def test_broken_settings_beside_a_file_are_refused(text, tmp_path):
    file = write("guided", tmp_path)
    file.with_suffix(".json").write_text(text)
    reason = checkpoints.fault(file, (3, 8, 8))
    assert reason is not None
    assert "\n" not in reason
    assert len(reason) < 400


def test_a_folder_is_one_of_diffusers_or_refused(tmp_path):
    assert "a folder without model_index.json or config.json" in (checkpoints.fault(tmp_path) or "")
    (tmp_path / "config.json").write_text(json.dumps({"sample_size": 8, "in_channels": 3}))
    assert checkpoints.fault(tmp_path, (3, 8, 8)) is None
    assert "shape (3, 8, 8)" in (checkpoints.fault(tmp_path, (3, 32, 32)) or "")
    assert checkpoints.meant(str(tmp_path)) == str(tmp_path)


def test_a_task_knows_the_file_and_what_lies_beside_it(tmp_path):
    file = write("improved", tmp_path)
    known = [checkpoints.checkpoint(CheckpointOptions(file=str(file)))]
    file.with_suffix(".json").write_text(json.dumps({**tiny("improved").config, "label_scale": 1}))
    known.append(checkpoints.checkpoint(CheckpointOptions(file=str(file))))
    forms.read(file).save(tmp_path / "kept.safetensors")
    known.append(checkpoints.checkpoint(CheckpointOptions(file=str(tmp_path / "kept.safetensors"))))
    assert known[0]["sha256"] == known[1]["sha256"]
    assert known[0]["settings"] != known[1]["settings"]
    assert set(known[2]) == {"sha256"}


def test_a_published_network_is_known_as_safetensors_too(tmp_path, monkeypatch):
    made = tiny("guided")
    save_file(made.state, tmp_path / "net.safetensors")
    assert "no configuration in its header" in (checkpoints.fault(tmp_path / "net.safetensors", (3, 8, 8)) or "")
    settings = {key: value for key, value in made.config.items() if key != "form"}
    options = CheckpointOptions(file="net", config=settings)
    assert checkpoints.fault(tmp_path / "net.safetensors", (3, 8, 8), options) is None
    network = replace(PUBLISHED["64x64_diffusion"], tensors=tensors_digest(made.state), config=settings)
    monkeypatch.setattr(published_networks, "NETWORKS", {"net": network})
    assert checkpoints.fault(tmp_path / "net.safetensors", (3, 8, 8)) is None
    assert "shape (3, 8, 8)" in (checkpoints.fault(tmp_path / "net.safetensors", (3, 32, 32)) or "")


def test_a_published_files_settings_belong_to_the_key(tmp_path, monkeypatch):
    published("64x64_diffusion", tmp_path / "mine.pt")
    options = CheckpointOptions(file=str(tmp_path / "mine.pt"))
    known = checkpoints.checkpoint(options)
    network = PUBLISHED["64x64_diffusion"]
    other = replace(network, config={**network.config, "schedule": "linear"})
    monkeypatch.setattr(published_networks, "NETWORKS", {network.name: other})
    assert checkpoints.checkpoint(options)["sha256"] == known["sha256"]
    assert checkpoints.checkpoint(options)["settings"] != known["settings"]


@pytest.mark.parametrize("name", ["net.pkl", "folder"])
def test_settings_for_a_file_that_has_its_own_are_refused(name, tmp_path):
    if name == "folder":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    else:
        (tmp_path / name).write_bytes(b"\x80\x04N.")
    for config in ({"network": {}}, str(tmp_path / "none.json")):
        options = CheckpointOptions(file=str(tmp_path / name), config=config)
        with pytest.raises(InputError, match="its settings are in it, and `config` is for files that leave them out"):
            checkpoints.checkpoint(options)


def test_first_bytes_are_read_without_torch():
    code = "import sys; from fewstep.bench.plan import checkpoints; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_files_that_do_not_fit_are_refused_together_each_with_its_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("guided", "improved", "pd-both"):
        write(name, tmp_path)
    (tmp_path / "empty.pt").touch()
    Path("guide.pt").write_bytes(Path("improved.pt").read_bytes())
    network = {"image_size": 16, "in_channels": 1, "out_channels": 10}
    guide = {"form": "openai", "kind": "classifier", "network": network}
    Path("guide.json").write_text(json.dumps(guide))
    grey = {**tiny("improved").config, "network": {"image_size": 8, "in_channels": 1, "num_classes": None}}
    Path("grey.json").write_text(json.dumps(grey))
    Path("grey.pt").write_bytes(Path("improved.pt").read_bytes())
    text = """name: wrong
datasets: mixture-8x8
teachers:
  - {name: checkpoint, file: improved.pt}
  - ddim:empty.pt
  - {name: checkpoint, file: grey.pt}
  - {name: checkpoint, file: grey.pt, label: guided, classifier: {file: guide.pt}}
nfe: [2]
metrics: rmse
methods:
  - euler
  - {name: student, options: {file: pd-both.msgpack, kind: one-step, sigma_init: 2.5}}
"""
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(Mistakes) as found:
        load("wrong.yaml")
    lines = [line.split(": ", 1) for line in str(found.value).splitlines()]
    assert [place for place, _ in lines] == [f"wrong.yaml:{n}" for n in (4, 5, 7, 12)]
    parts = ("shape (3, 8, 8)", "is empty", "images of shape (1, 16, 16)", "pd-both.msgpack")
    for (_, said), part in zip(lines, parts, strict=True):
        assert part in said


def test_images_of_another_shape_have_their_line_among_the_mistakes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("wide.npz", np.zeros((2, 16, 16, 1), np.uint8))
    text = """name: wrong
datasets: digits
teachers: {name: shipped, file: digits-unet-128k}
nfe: 1
metrics: fd_digits
methods:
  - {name: images, options: {from: wide.npz}}
  - {name: euler, options: {afs: 3}}
"""
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(Mistakes) as found:
        load("wrong.yaml")
    assert "wrong.yaml:7: methods[0].options.from: wide.npz: images of shape (1, 16, 16)" in str(found.value)


@pytest.mark.parametrize(("name", "classes"), [("guided", 4), ("improved", 0), ("pd-both", 4), ("pd", 0), ("cm", 4)])
def test_classes_are_told_before_tensors_are_read(name, classes, tmp_path):
    file = write(name, tmp_path)
    assert checkpoints.fault(file, (3, 8, 8), classes=4) is None
    said = checkpoints.fault(file, (3, 8, 8), classes=7)
    assert said == (f"it was trained on {classes} classes, and the data set has 7" if classes else None)
