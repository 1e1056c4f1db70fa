"""`fewstep choose`: which solver for a network that somebody trained, in words; and a person's own images as data."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from fewstep.bench.commands.choice import Choice
from fewstep.bench.commands.main import main
from fewstep.bench.run.executor import ExecutorSpec
from fewstep.bench.run.worker import execute
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.datasets import get
from fewstep.datasets.registry import DATASETS
from fewstep.methods.networks import edm_network
from fewstep.methods.registry import of_kind
from fewstep.methods.teachers.checkpoint import Checkpoint

from . import stand_ins

CONFIG = {
    "precond": "EDMPrecond",
    "kwargs": {
        "img_resolution": 8, "img_channels": 3, "label_dim": 0, "model_type": "SongUNet", "model_channels": 8,
        "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [],
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))


@pytest.fixture
def photos(tmp_path):
    """Thirty images of 8x8 in a folder, and a network of that size."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(stand_ins.images(30, side=8)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i:02}.png")
    torch.manual_seed(0)
    Checkpoint(CONFIG, edm_network(CONFIG).state_dict()).save(tmp_path / "mine.safetensors")
    return folder


class Here:
    """An executor whose tasks see what a test has patched."""

    has_room = True

    def __init__(self, resources):
        self.store, self.running = Store(resources.root), []

    def submit(self, task):
        self.running.append(task)

    def events(self, timeout):
        while self.running:
            task = self.running.pop()
            event, payload = execute(task.to_json(), self.store)
            yield event, task.name, payload

    def close(self):
        pass


def choose(*words):
    return CliRunner().invoke(main, ["choose", *map(str, words), "--device", "cpu"])


def refused(*words):
    """The line, after which nothing is left behind."""
    before = set(Path().iterdir())
    result = choose(*words)
    assert result.exit_code == 2, result.output
    assert set(Path().iterdir()) == before
    (line,) = result.stderr.splitlines()
    return line


def test_the_answer_is_in_words_and_its_suite_repeats_it():
    words = ["--nfe", "2,4", "--solvers", "euler,dpmpp-2m,unipc-3", "--samples", 200, "--out", "out"]
    result = choose("digits-unet-128k", "--dataset", "digits", *words)
    assert result.exit_code == 0, result.output
    at2, at4, row = result.stdout.splitlines()[-3:]
    rows = yaml.safe_load(row.removeprefix("in a suite: "))["methods"]
    assert [nfe for row in rows for nfe in row["nfe"]] in ([2, 4], [4, 2])
    assert all(line.count(row["name"]) for row in rows for nfe, line in ((2, at2), (4, at4)) if nfe in row["nfe"])
    assert at2.startswith("at 2 evaluations: ")
    assert at4.startswith("at 4 evaluations: ")
    assert "FD (digits)" in at4
    assert at4.endswith("ms per image")
    assert load("out/suite.yaml").budgets == []
    before = Path("out/results.csv").read_bytes()
    again = CliRunner().invoke(main, ["run", "out/suite.yaml", "--out", "out", "--store", "out/store"])
    assert again.exit_code == 0, again.output
    assert Path("out/results.csv").read_bytes() == before


def test_every_solver_is_asked_at_the_evaluations_that_it_reaches():
    from fewstep.bench.commands.choice import Choice

    suite = Choice("digits-unet-128k", "digits", (4, 5)).suite()
    asked = {entry.name: entry.nfe or suite.nfe for entry in suite.methods}
    assert asked["heun"] == [5]
    assert asked["euler"] == [4, 5]
    reach = {name for name, spec in of_kind("solver").items() if spec.refusal(4) is None or spec.refusal(5) is None}
    assert set(asked) == reach
    assert suite.metrics == ["fd_digits"]


def test_a_network_on_images_of_ones_own_is_judged_by_published_features(photos, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    stand_ins.inception(tmp_path / "weights")
    stand_ins.register(monkeypatch, tmp_path / "weights", stand_ins.INCEPTION)
    monkeypatch.setattr(ExecutorSpec, "start", lambda self, resources: Here(resources))
    words = ["--nfe", 2, "--solvers", "euler,dpmpp-2m", "--samples", 12, "--metric", "kid"]
    result = choose("mine.safetensors", "--images", "photos", *words)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2].startswith("at 2 evaluations: ")
    assert "lower is better, on photos" in result.stdout


def test_weights_that_are_lacking_are_named_before_anything_runs(photos):
    line = refused("mine.safetensors", "--images", "photos", "--nfe", 4)
    assert line.startswith("fewstep: fid: missing")
    assert "curl" in line


def test_a_data_set_whose_labels_are_not_here_is_named_with_the_command_that_makes_it(photos, monkeypatch):
    tiny = dataclasses.replace(DATASETS["cifar10"], name="tiny-cifar", shape=(3, 8, 8), archive="tiny.zip")
    monkeypatch.setitem(DATASETS.entries, "tiny-cifar", tiny)
    line = refused("mine.safetensors", "--dataset", "tiny-cifar", "--nfe", 4, "--metric", "rmse")
    assert "fewstep prepare tiny-cifar" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine.safetensors", "--nfe", 4], "give either --dataset NAME or --images FOLDER"),
        (["none.pkl", "--dataset", "digits", "--nfe", 4], "no file none.pkl, and no known network"),
        (["ddim:none.pt", "--dataset", "digits", "--nfe", 4], "no file none.pt, and no known network of that name; `"),
        (["mine.safetensors", "--images", "fotos", "--nfe", 4], "unknown dataset 'fotos'"),
        (["mine.safetensors", "--images", "photos", "--nfe", "4,x"], "--nfe 4,x: expected whole numbers"),
        (["mine.safetensors", "--images", "photos", "--nfe", 0], "--nfe 0: expected whole numbers from 1"),
        (["mine.safetensors", "--images", "photos", "--nfe", 4, "--metric", "fd_digits"], "not defined on photos"),
        (["mine.safetensors", "--images", "photos", "--nfe", 4, "--metric", "fib"], "did you mean 'fid'?"),
        (["digits-unet-128k", "--dataset", "digits", "--nfe", 4, "--solvers", "euler,hoin"], "unknown solver 'hoin'"),
        (["digits-unet-128k", "--dataset", "digits", "--nfe", 4, "--solvers", "heun"], "heun reaches none of these"),
        (["mine.safetensors", "--dataset", "digits", "--nfe", 4], "its images have shape (3, 8, 8), the data set's"),
    ],
)
def test_what_cannot_be_run_is_one_line(photos, words, message):
    assert message in refused(*words)


def test_a_file_without_a_configuration_is_told_before_the_run(photos, tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "bare.safetensors")
    line = refused("bare.safetensors", "--images", "photos", "--nfe", 4, "--metric", "rmse")
    assert "bare.safetensors: no configuration in its header, nor a file bare.json beside it" in line
    assert '{"precond": "EDMPrecond", "kwargs":' in line
    (tmp_path / "bare.json").write_text(json.dumps(CONFIG))
    (tmp_path / "cut.pkl").write_bytes(b"\x80\x04")
    assert "not a whole pickle" in refused("cut.pkl", "--images", "photos", "--nfe", 4, "--metric", "rmse")


def test_a_folder_of_images_is_a_data_set_of_a_suite(photos, monkeypatch):
    monkeypatch.setattr(ExecutorSpec, "start", lambda self, resources: Here(resources))
    spec = DATASETS.pick("photos")
    assert (spec.shape, spec.size, spec.shown, spec.missing()) == ((3, 8, 8), 30, "photos", None)
    data = get("photos")
    assert data.samples(torch.tensor([3, 0])).shape == (2, 3, 8, 8)
    assert data.labels(torch.tensor([0])) is None
    assert "photos" not in list(DATASETS)
    suite = {"name": "own", "datasets": "./photos", "nfe": 2, "metrics": "rmse", "samples": 4, "methods": ["euler"]}
    suite |= {"teachers": {"name": "checkpoint", "file": "mine.safetensors"}, "truth": {"samples": 2, "tolerance": 0.1}}
    Path("own.yaml").write_text(yaml.safe_dump(suite))
    result = CliRunner().invoke(main, ["run", "own.yaml", "--out", "out"])
    assert result.exit_code == 0, result.output
    assert ",photos,mine,euler," in Path("out/results.csv").read_text()


def test_images_that_change_are_other_data(photos):
    before = DATASETS.pick("photos").identity()
    Image.new("RGB", (8, 8)).save(photos / "00.png")
    assert DATASETS.pick("photos").identity() != before
    (photos / "00.png").unlink()
    assert DATASETS.pick("photos").size == 29


def test_a_folder_that_tables_would_confuse_with_a_data_set_is_refused(photos):
    photos.rename("digits")
    line = refused("mine.safetensors", "--images", "./digits", "--nfe", 4, "--metric", "rmse")
    assert "tables call another data set 'digits' too; rename the folder" in line


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (lambda whole: whole, None),
        (lambda whole: whole[:2000], "no header of safetensors, or cut short"),
        (lambda whole: whole[:-1], "and its header says"),
        (lambda whole: b"<html>404</html>", "not a network in EDM's form"),
    ],
)
def test_doctor_opens_the_header_of_a_network(photos, content, fault):
    file = Path("mine.safetensors")
    file.write_bytes(content(file.read_bytes()))
    suite = {"name": "own", "datasets": "photos", "nfe": 2, "metrics": "rmse", "methods": ["euler"]}
    suite |= {"teachers": {"name": "checkpoint", "file": "mine.safetensors"}}
    Path("own.yaml").write_text(yaml.safe_dump(suite))
    result = CliRunner().invoke(main, ["doctor", "own.yaml"])
    (line,) = [line for line in result.stdout.splitlines() if "mine.safetensors" in line]
    assert result.exit_code == (0 if fault is None else 1)
    assert ("present" in line) == (fault is None)
    assert fault is None or ("wrong content" in line and fault in line)


def test_a_checkpoint_can_have_its_form_before_a_colon(tmp_path):
    file = tmp_path / "net.pt"
    file.touch()
    text = yaml.safe_load(Choice(f"ddim:{file}", "digits", (4,), metric="fd_digits", solvers=("euler",)).text())
    assert text["teachers"] == {"name": "checkpoint", "form": "ddpm", "file": str(file)}
    assert text["name"] == "choose-net-digits"
