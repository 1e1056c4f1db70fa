"""What a text-to-image folder is: facts without torch, files of weights, and hostile folders."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from fewstep.methods.teachers.edm_pickle import CheckpointError
from fewstep.methods.teachers.pipelines import facts, pixart_names
from fewstep.methods.teachers.pipelines.miniature import authors_names
from fewstep.methods.teachers.pipelines.pipeline import read
from fewstep.tests.methods import tiny_pipelines as tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd(tmp_path_factory.mktemp("folders") / "sd")


@pytest.fixture
def copied(tmp_path, folder):
    return shutil.copytree(folder, tmp_path / "sd")


def test_the_facts_are_known_without_torch(folder):
    code = (
        "import sys; from pathlib import Path; from fewstep.methods.teachers.pipelines.facts import read;"
        "found = read(Path(sys.argv[1])); print(found.kind, found.latent_shape, found.image_shape, found.tokens,"
        "found.prediction, found.embeds_guidance, bool(found.identity()));"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code, folder], check=True, capture_output=True, text=True).stdout
    assert said.split("\n")[0] == "sd (4, 8, 8) (3, 16, 16) 77 epsilon False True"


def test_a_resolution_is_of_the_image_and_a_multiple_of_what_the_autoencoder_halves(folder):
    found = facts.read(folder, 32)
    assert (found.latent_shape, found.image_shape) == ((4, 16, 16), (3, 32, 32))
    with pytest.raises(CheckpointError, match="multiple of 2 pixels"):
        facts.read(folder, 33)


def weights_of(folder):
    return read(folder).checkpoint()[1]


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_weights_are_one_file_or_shards_or_the_variant_fp16(copied):
    expected, unet = weights_of(copied), copied / "unet"
    single = unet / "diffusion_pytorch_model.safetensors"
    names = sorted(expected)
    shards = {"a.safetensors": names[:20], "b.safetensors": names[20:]}
    for file, own in shards.items():
        tiny.save_file({name: expected[name] for name in own}, unet / file)
    index = {"weight_map": {name: file for file, own in shards.items() for name in own}}
    single.unlink()
    (unet / f"{single.name}.index.json").write_text(json.dumps(index))
    assert same(weights_of(copied), expected)
    (unet / f"{single.name}.index.json").unlink()
    halves = {name: tensor.half() for name, tensor in expected.items()}
    tiny.save_file(halves, unet / "diffusion_pytorch_model.fp16.safetensors")
    assert same(weights_of(copied), {name: tensor.float() for name, tensor in halves.items()})


def test_pickles_beside_the_weights_are_not_opened(copied):
    expected = weights_of(copied)
    for part in ("unet", "vae", "text_encoder"):
        for name in ("diffusion_pytorch_model.bin", "pytorch_model.bin"):
            (copied / part / name).write_bytes(b"cos\nsystem\n")
    assert same(weights_of(copied), expected)
    pipeline = read(copied)
    pipeline.codec()
    assert len(list(pipeline.encode(["a"]))) == 2


def test_a_network_may_come_from_another_file_with_a_prediction_of_its_own(tmp_path, folder):
    expected = {name: 2 * tensor for name, tensor in weights_of(folder).items()}
    tiny.save_file(expected, tmp_path / "few.safetensors")
    torch.save({"ema": {f"module.{name}": tensor for name, tensor in expected.items()}}, tmp_path / "few.pt")
    for name in ("few.safetensors", "few.pt"):
        config, found = read(folder, network_file=tmp_path / name, prediction="sample").checkpoint()
        assert same(found, expected)
        assert config["scheduler"]["prediction_type"] == "sample"
    with pytest.raises(CheckpointError, match="no such file"):
        read(folder, network_file=tmp_path / "gone.safetensors")


def test_pixarts_networks_are_read_under_their_authors_names():
    ours = tiny.pixart_network(0, 32, use_additional_conditions=True).state_dict()
    own = {**authors_names(ours), "pos_embed": torch.zeros(1), "y_embedder.y_embedding": torch.zeros(1)}
    assert "blocks.1.attn.qkv.bias" in own
    assert pixart_names.recognised(own)
    assert not pixart_names.recognised(ours)
    assert same(pixart_names.translated(own), ours)


def hostile(folder, case):
    """Make the folder hostile in one way; what the one line must say."""
    index, config = folder / "model_index.json", folder / "unet" / "config.json"
    chain, weights = (
        folder / "scheduler" / "scheduler_config.json",
        folder / "unet" / "diffusion_pytorch_model.safetensors",
    )
    match case:
        case "custom pipeline":
            tiny.changed(index, _class_name=["pipeline", "MyPipeline"])
            return "pipeline"
        case "another pipeline":
            tiny.changed(index, _class_name="StableDiffusion3Pipeline")
            return "StableDiffusionPipeline"
        case "another class":
            tiny.changed(index, text_encoder=["my_module", "CLIPTextModel"])
            return "my_module"
        case "one part more":
            tiny.changed(index, controlnet=["os", "system"])
            return "controlnet"
        case "one part less":
            tiny.changed(index, vae=[None, None])
            return "no vae"
        case "auto_map":
            tiny.changed(config, auto_map={"AutoModel": "modeling.Mine"})
            return "auto_map"
        case "another network":
            tiny.changed(config, _class_name="UNet3DConditionModel")
            return "UNet3DConditionModel"
        case "another scheduler":
            tiny.changed(chain, _class_name="FlowMatchEulerDiscreteScheduler")
            return "FlowMatchEulerDiscreteScheduler"
        case "another autoencoder":
            tiny.changed(folder / "vae" / "config.json", _class_name="AutoencoderTiny")
            return "AutoencoderTiny"
        case "inpainting":
            tiny.changed(config, in_channels=9)
            return "9"
        case "image prompts":
            tiny.changed(config, encoder_hid_dim_type="ip_image_proj")
            return "ip_image_proj"
        case "unknown argument":
            tiny.changed(config, use_magic=True)
            return "use_magic"
        case "only pickles":
            weights.rename(weights.with_suffix(".bin"))
            return "safe_serialization"
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
            return "not whole safetensors"
        case "wrong shapes":
            tiny.changed(config, block_out_channels=[16, 16])
            return "size mismatch"
        case "a missing tensor":
            tiny.changed(config, layers_per_block=2)
            return "Missing key"
        case "a giant":
            tiny.changed(config, cross_attention_dim=2**40)
            return "not a UNet2DConditionModel"
        case "a thousand layers":
            tiny.changed(config, layers_per_block=10**9)
            return "1000000000 layers"
        case "no size":
            tiny.changed(config, sample_size=None)
            return "sample_size"
        case "prediction":
            tiny.changed(chain, prediction_type="flow_prediction")
            return "flow_prediction"
        case "betas":
            tiny.changed(chain, trained_betas=[0.1, float("nan")])
            return "betas"
        case "deep JSON":
            index.write_text("[" * 100_000)
            return "not a configuration"
        case _:
            weights.unlink()
            shards = weights.with_name(f"{weights.name}.index.json")
            shards.write_text(json.dumps({"weight_map": {"conv_in.weight": case}}))
            return "no such file" if case == "gone.safetensors" else "beside it"


HOSTILE = (
    "custom pipeline", "another pipeline", "another class", "one part more", "one part less", "auto_map",
    "another network", "another scheduler", "another autoencoder", "inpainting", "image prompts", "unknown argument",
    "only pickles", "truncated", "wrong shapes", "a missing tensor", "a giant", "a thousand layers", "no size",
    "prediction", "betas", "deep JSON", "../stolen.safetensors", "/etc/passwd", "weights.bin", "gone.safetensors",
)  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_is_one_line_and_runs_nothing(copied, case):
    says = hostile(copied, case)
    with pytest.raises(CheckpointError) as found:
        tiny.built(read(copied))
    message = str(found.value)
    assert says in message
    assert "\n" not in message
    assert len(message) < 900


def test_an_autoencoder_of_other_latents_is_refused(copied):
    tiny.changed(copied / "vae" / "config.json", latent_channels=16)
    with pytest.raises(CheckpointError, match="16 channels, the network's 4"):
        read(copied)
