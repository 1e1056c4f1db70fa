"""Students of text-to-image pipelines: resumed bit-equal, and their previews are pictures."""

import numpy as np
import pytest
import torch

from fewstep.bench.stages import preview
from fewstep.bench.stages.codec import Later
from fewstep.bench.stages.data import Outline
from fewstep.bench.stages.train import build
from fewstep.bench.training import loop
from fewstep.methods.denoiser import Guided
from fewstep.methods.prompts import write
from fewstep.methods.registry import method
from fewstep.methods.specs.teachers.pipeline import PipelineOptions
from fewstep.methods.teachers.pipelines.pipeline import read
from fewstep.tests.methods import killing
from fewstep.tests.methods import tiny_pipelines as tiny


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tiny.sd(tmp_path_factory.mktemp("pipelines") / "sd")
    pipeline = read(folder)
    file = folder.parent / "prompts.safetensors"
    table = write(file, pipeline.encode(tiny.PROMPTS), len(tiny.PROMPTS) + 1, pipeline.identity())
    codec = Later(PipelineOptions(folder=str(folder)))
    return Guided(pipeline.denoiser(table, codec=codec), 2.0).requires_grad_(False).eval()


def student(teacher, name, seed=0):
    return build(name, {"batch": 2}, teacher, seed, None)


@pytest.mark.parametrize("name", ["boot", "sim"])
def test_a_killed_student_of_a_pipeline_resumed_equals_an_undisturbed_one(teacher, tmp_path, monkeypatch, name):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    data = Outline("captions", tuple(teacher.sample_shape), 0, len(tiny.PROMPTS), None)

    def run(folder, kill=None):
        trained = student(teacher, name)
        return trained, killing.train(trained, 60, folder, kill, data)

    undisturbed, expected = run(tmp_path / "a")
    assert expected.steps > 2
    with pytest.raises(killing.Killed):
        run(tmp_path / "b", kill=1)
    resumed, ledger = run(tmp_path / "b")
    assert killing.same(resumed, undisturbed)
    assert (ledger.flops, ledger.images, ledger.steps) == (expected.flops, expected.images, expected.steps)
    assert not killing.same(resumed, student(teacher, name))


def test_a_preview_of_latents_is_of_decoded_pictures(teacher):
    trained = student(teacher, "sim")
    made = preview.of_method(trained, "sim", method("sim").options.model_validate({"batch": 2}), None)()
    assert (made.shape, made.dtype) == ((preview.COUNT, 3, 16, 16), np.uint8)
    assert made.std() > 1
    teacher.denoiser.codec, kept = None, teacher.denoiser.codec
    teacher.codec = None
    try:
        options = method("sim").options.model_validate({"batch": 2})
        assert preview.of_method(student(teacher, "sim"), "sim", options, None) is None
    finally:
        teacher.denoiser.codec = teacher.codec = kept


def test_a_codec_is_read_when_a_picture_is_asked_for(tmp_path):
    lazy = Later(PipelineOptions(folder=str(tmp_path / "none")))
    assert lazy.to("cpu") is lazy
    with pytest.raises(Exception, match="no such file"):
        lazy.decode(torch.zeros(1, 4, 8, 8))
