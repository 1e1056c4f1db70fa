"""Students of text-to-image pipelines: resumed bit-equal, and their previews are pictures."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.stages import preview
from fewstep.bench.stages.codec import Later
from fewstep.bench.stages.latents import LatentSet
from fewstep.bench.stages.train import build
from fewstep.bench.training import loop
from fewstep.methods.denoiser import Guided
from fewstep.methods.prompts import write
from fewstep.methods.randomness import noise
from fewstep.methods.registry import METHODS, method
from fewstep.methods.specs.teachers.pipeline import PipelineOptions
from fewstep.methods.teachers.pipelines.pipeline import read
from fewstep.tests.bench.test_text_to_image import NFE, OPTIONS
from fewstep.tests.methods import killing
from fewstep.tests.methods import tiny_pipelines as tiny


def guided(folder, **changes):
    """A small Stable Diffusion with random weights, its prompts encoded, at guidance 2."""
    tiny.sd(folder, **changes)
    pipeline = read(folder)
    file = folder.parent / "prompts.safetensors"
    table = write(file, pipeline.encode(tiny.PROMPTS), len(tiny.PROMPTS) + 1, pipeline.identity())
    codec = Later(PipelineOptions(folder=str(folder)))
    return Guided(pipeline.denoiser(table, codec=codec), 2.0).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return guided(tmp_path_factory.mktemp("pipelines") / "sd")


@pytest.fixture(scope="module")
def smooth(tmp_path_factory):
    """One whose paths are smooth, though its network is random."""
    return guided(tmp_path_factory.mktemp("pipelines") / "v", prediction="v_prediction")


@pytest.fixture(scope="module")
def latents(teacher, tmp_path_factory):
    shape = (len(tiny.PROMPTS), *teacher.sample_shape)
    file = tmp_path_factory.mktemp("latents") / "latents.safetensors"
    save_file({"x0": noise(0, "latents", range(shape[0]), shape[1:])}, file)
    return LatentSet("latents", str(file), shape[1:], shape[0])


def student(teacher, name, seed=0):
    spec = method(name)
    batch = {"batch": 2} if "batch" in spec.options.model_fields else {}
    return build(name, {**batch, **OPTIONS.get(name, {})}, teacher, seed, NFE.get(name, 1) if spec.per_nfe else None)


SMALLER = {"bespoke": 400}


EACH = [
    pytest.param(name, marks=[] if name in ("boot", "sim") else [pytest.mark.slow])
    for name, spec in METHODS.items()
    if spec.trains
]


@pytest.mark.parametrize("name", EACH)
def test_a_killed_student_of_a_pipeline_resumed_equals_an_undisturbed_one(
    request, teacher, latents, tmp_path, monkeypatch, name
):
    """And its ledger is a FLOP counter around the whole run."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    source = request.getfixturevalue("smooth") if name == "bespoke" else teacher

    def run(folder, kill=None):
        trained = student(source, name)
        return trained, killing.train(trained, SMALLER.get(name, 60), folder, kill, latents)

    # Counted apart: a counter takes some operations to pieces, with other roundings.
    with FlopCounterMode(display=False) as counter:
        _, counted = run(tmp_path / "counted")
    assert counted.flops == pytest.approx(counter.get_total_flops() - 2 * counted.flops_per_evaluation, rel=0.005)
    undisturbed, expected = run(tmp_path / "a")
    with pytest.raises(killing.Killed):
        run(tmp_path / "b", kill=1)
    resumed, ledger = run(tmp_path / "b")
    assert killing.same(resumed, undisturbed)
    assert (ledger.flops, ledger.images, ledger.steps) == (expected.flops, expected.images, expected.steps)
    assert not killing.same(resumed, student(source, name))


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
