"""The data set `scenes`: what its pictures show, what its captions say, and that neither ever changes."""

import hashlib

import pytest
import torch
from click.testing import CliRunner

from fewstep import datasets
from fewstep.bench.commands.main import main
from fewstep.datasets import scenes
from fewstep.datasets.captions import captions
from fewstep.datasets.registry import DATASETS


@pytest.fixture(scope="module")
def data():
    return datasets.get("scenes")


def test_the_pictures_and_the_captions_never_change(data):
    assert data.pixels_sha256().startswith("85d751ce079ffe5f")
    assert scenes.held_out().pixels_sha256().startswith("9475b3ba3b2f0a80")
    assert hashlib.sha256("\n".join(scenes.PROMPTS).encode()).hexdigest().startswith("d4804c190a909c42")


def test_a_picture_shows_the_two_digits_of_its_caption_where_it_says(data):
    """Each half holds a digit of the named class, whole, whatever its shift."""
    source = datasets.get("digits")
    known = {image.numpy().tobytes(): int(label) for image, label in zip(source.images, source.targets, strict=True)}
    for image, row in zip(data.images[:100, 0], data.targets[:100].tolist(), strict=True):
        scene = scenes.SENTENCES[row][1]
        upright = image.T if scene.stacked else image
        for place, digit in enumerate((scene.first, scene.second)):
            half = upright[:, 8 * place : 8 * place + 8]
            windows = (half[k : k + 8] for k in range(9))
            shown = {known.get((w.T if scene.stacked else w).contiguous().numpy().tobytes()) for w in windows}
            assert digit in shown


def test_captions_say_what_they_mean():
    by_text = dict(scenes.SENTENCES)
    assert by_text["a three left of an eight"] == by_text["an eight right of a three"] == scenes.Scene(3, 8, False)
    assert by_text["a three below an eight"] == by_text["an eight above a three"] == scenes.Scene(8, 3, True)
    assert by_text["a three left of an eight"] != by_text["an eight left of a three"]
    assert len(by_text) == 400
    assert sorted(scenes.MEANINGS) == sorted([*range(200), *range(200)])


def test_held_out_pictures_are_of_digits_that_no_training_picture_shows():
    training, others = scenes._split()
    assert set(training.tolist()).isdisjoint(others.tolist())
    assert len(training) + len(others) == 1797
    assert scenes.held_out().targets[:401].tolist() == [*range(400), 0]


def test_the_data_are_scaled_as_the_teacher_assumes(data):
    assert len(data) == DATASETS["scenes"].size
    assert data.samples(torch.arange(2000)).std() == pytest.approx(0.61, abs=0.01)
    assert data.labels(torch.arange(12_000)).unique().numel() == 400


def test_captions_show_and_list_know_the_frozen_list():
    assert captions("scenes", [0, 400, 801]) == [scenes.PROMPTS[0], scenes.PROMPTS[0], scenes.PROMPTS[1]]
    printed = CliRunner().invoke(main, ["captions", "scenes"]).output.splitlines()
    assert printed == list(scenes.PROMPTS)
    assert "400, a frozen list" in CliRunner().invoke(main, ["show", "scenes"]).output
    assert "scenes" in CliRunner().invoke(main, ["list", "datasets"]).output
    refused = CliRunner().invoke(main, ["captions", "digits"])
    assert refused.exit_code == 2
    assert "digits has no captions; scenes, coco2014, coco2017 have" in refused.stderr


def test_images_with_captions_beside_are_no_conditions():
    """A scored set of pictures has captions too, and no label is a row of theirs."""
    assert DATASETS["scenes"].prompted
    assert not DATASETS["coco2014"].prompted
    assert not DATASETS["digits"].prompted
