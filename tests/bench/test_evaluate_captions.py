"""`fewstep evaluate` on images that were made from captions: each is scored with its own."""

import csv
import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from fewstep.bench.commands.evaluate_request import Request
from fewstep.bench.commands.main import main
from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.datasets.prepare import prepare


class Lengths:
    """In the place of CLIP: the first pixel of an image plus the length of its caption."""

    def missing(self):
        return None

    def protocol(self):
        return "clip@w/resize"

    def load(self, device):
        return self

    def score(self, images, captions):
        return images[:, 0, 0, 0] + torch.tensor([float(len(caption)) for caption in captions])


@pytest.fixture
def coco(tmp_path, monkeypatch):
    """COCO 2017 with five images and captions of different lengths, and Lengths for CLIP."""
    source = tmp_path / "source"
    (source / "val2017").mkdir(parents=True)
    (source / "annotations").mkdir()
    content = {"images": [], "annotations": []}
    for i in range(5):
        Image.new("RGB", (300, 260), (i, i, i)).save(source / "val2017" / f"{i:012d}.jpg")
        content["images"].append({"id": i, "file_name": f"{i:012d}.jpg"})
        content["annotations"].append({"id": 10 - i, "image_id": i, "caption": "x" * (i * i + 1)})
    (source / "annotations" / "captions_val2017.json").write_text(json.dumps(content))
    prepare("coco2017", source, tmp_path / "data", lambda file, count: None)
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path / "data"))
    monkeypatch.setitem(EXTRACTORS, "clip-vitb32", Lengths())
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))


def drawn(folder, count, name="{:05d}.png"):
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (64, 64), (3 * i, 0, 0)).save(folder / name.format(i))
    return folder


def call(folder, images, *words):
    """The result of the command on a data set with captions, by default COCO 2017."""
    words = ["--metrics", "clip_score", "--device", "cpu", *words, "--out", folder / "out"]
    return CliRunner().invoke(main, ["evaluate", str(images), "--dataset", "coco2017", *map(str, words)])


def scored(folder, images, *words):
    result = call(folder, images, "--overwrite", *words)
    assert result.exit_code == 0, result.stderr
    with (folder / "out" / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    return float(row["value"]), row["protocol"]


@pytest.mark.parametrize("count", [5, 3, 12])
def test_images_made_from_captions_are_scored_with_the_caption_of_their_index(coco, tmp_path, count):
    made = drawn(tmp_path / "made", count)
    found = scored(tmp_path, made)
    assert found[0] == pytest.approx(sum(3 * i + (i % 5) ** 2 + 1 for i in range(count)) / count)
    lines = CliRunner().invoke(main, ["captions", "coco2017", "--count", str(count)]).output
    (tmp_path / "captions.txt").write_text(lines)
    by_file = scored(tmp_path, made, "--captions", tmp_path / "captions.txt")
    assert by_file == found, "the same captions are the same protocol, wherever they were read"
    (tmp_path / "others.txt").write_text("y\n" * count)
    assert scored(tmp_path, made, "--captions", tmp_path / "others.txt")[1] != found[1]


def test_by_default_a_data_set_with_captions_has_their_metrics(coco, tmp_path):
    request = Request(tmp_path, "coco2017", (), {})
    assert {"clip_score", "hpsv2", "pickscore", "fid", "cmmd"} <= set(request.defined())
    assert "clip_score" in request.wanted()
    assert "clip_score" not in Request(tmp_path, "cifar10", (), {}).defined()


def test_the_captions_of_a_data_set_that_is_not_here_are_missed_at_once(coco, tmp_path):
    made = drawn(tmp_path / "made", 3)
    result = call(tmp_path, made, "--dataset", "coco2014")
    assert result.exit_code == 2
    assert "coco2014-256.zip, get it by `fewstep prepare coco2014 --from SOURCE`" in result.stderr
    assert not (tmp_path / "out").exists()


def test_names_whose_order_is_not_that_of_their_numbers_are_refused_with_captions(coco, tmp_path):
    """10.png stands before 2.png: each would be scored with another's caption."""
    made = drawn(tmp_path / "made", 12, "{}.png")
    result = call(tmp_path, made)
    assert result.exit_code == 2
    assert "by name 10.png comes before 2.png, and captions belong to images in order" in result.stderr
    assert "write the numbers with as many digits" in result.stderr


def test_captions_must_be_as_many_as_images(coco, tmp_path):
    (tmp_path / "captions.txt").write_text("one\ntwo\n")
    result = call(tmp_path, drawn(tmp_path / "made", 3), "--captions", tmp_path / "captions.txt")
    assert result.exit_code == 2
    assert "2 lines for 3 images" in result.stderr
