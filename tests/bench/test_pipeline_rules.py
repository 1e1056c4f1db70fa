"""What a suite says of text-to-image pipelines before anything runs: one line for each mistake, without torch."""

import json

import pytest
import yaml

from fewstep.bench.errors import InputError
from fewstep.bench.suite.loading import load


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    """The configurations of a Stable Diffusion, and names of weights; none is read before a run."""
    made = tmp_path / "sd"
    parts = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    write(made / "model_index.json", {"_class_name": "StableDiffusionPipeline", **parts})
    network = {"_class_name": "UNet2DConditionModel", "sample_size": 64, "in_channels": 4, "out_channels": 4}
    write(made / "unet" / "config.json", network)
    write(made / "vae" / "config.json", {"_class_name": "AutoencoderKL", "block_out_channels": [8, 8, 8, 8]})
    write(made / "scheduler" / "scheduler_config.json", {"_class_name": "DDIMScheduler"})
    write(made / "text_encoder" / "config.json", {"architectures": ["CLIPTextModel"]})
    for file in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        (made / f"{file}.safetensors").write_bytes(b"")
    return made


def suite(tmp_path, teacher=None, methods=("euler",), **changes):
    given = {"name": "told", "datasets": "coco2017", "nfe": [1], "metrics": ["clip_score"], "methods": list(methods)}
    teachers = {} if teacher is None else {"teachers": teacher}
    file = tmp_path / "told.yaml"
    file.write_text(yaml.safe_dump({**given, **teachers, **changes}, sort_keys=False))
    return str(file)


def said(*arguments, **changes):
    with pytest.raises(InputError) as error:
        load(suite(*arguments, **changes))
    return str(error.value)


def test_a_folder_in_one_word_is_a_pipeline(tmp_path, folder):
    (teacher,) = load(suite(tmp_path, f"diffusers:{folder}")).teachers
    assert (teacher.name, teacher.folder, teacher.shown()) == ("pipeline", str(folder), "sd")


def test_a_checkpoint_that_is_a_pipeline_says_how_to_write_it(tmp_path, folder):
    text = said(tmp_path, {"name": "checkpoint", "file": str(folder)})
    assert "told.yaml:" in text
    assert "{name: pipeline, folder: ...}" in text


def test_a_data_set_without_captions_is_refused(tmp_path, folder):
    text = said(tmp_path, {"name": "pipeline", "folder": str(folder)}, datasets="ffhq256", metrics=["fid"])
    assert "ffhq256 has no captions, which a text-to-image network is told; coco2014 and coco2017 have" in text


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        (
            "model_index.json",
            {"_class_name": "FluxPipeline"},
            "pipeline 'FluxPipeline'; one of StableDiffusionPipeline",
        ),
        ("unet/config.json", {"sample_size": None}, "give no shape of latents"),
        ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatch"),
        ("vae/config.json", {"auto_map": {"AutoModel": "mine.Mine"}}, "auto_map names code of its own"),
    ],
)
def test_a_folder_that_is_none_says_why_with_its_line(tmp_path, folder, part, change, reason):
    file = folder / part
    write(file, {**json.loads(file.read_text()), **change})
    text = said(tmp_path, {"name": "pipeline", "folder": str(folder)})
    assert "told.yaml:" in text
    assert reason in text


def test_a_network_that_is_told_the_scale_is_a_row_and_needs_one(tmp_path, folder):
    file = folder / "unet" / "config.json"
    write(file, {**json.loads(file.read_text()), "time_cond_proj_dim": 8})
    assert "it is a row, {name: released" in said(tmp_path, {"name": "pipeline", "folder": str(folder)})
    row = {"name": "released", "options": {"folder": str(folder), "sampler": "lcm"}}
    assert "give `guidance`, such as 8" in said(tmp_path, methods=[row])
    row["options"]["guidance"] = 8.0
    load(suite(tmp_path, methods=[row]))


def test_options_of_text_to_image_networks_are_refused_for_others(tmp_path):
    pixels = tmp_path / "ddpm"
    write(pixels / "model_index.json", {"_class_name": "DDPMPipeline"})
    row = {"name": "released", "options": {"folder": str(pixels), "guidance": 2.0}}
    assert "guidance is of text-to-image networks" in said(tmp_path, methods=[row])
