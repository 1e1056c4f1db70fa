"""CLIP's embeddings and scores on small networks in the real files' forms, with the real tokeniser."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.bench.metrics.extractors.registry import ClipExtractor
from fewstep.tests.bench.stand_ins import images, register

open_clip = pytest.importorskip("open_clip")

CAPTIONS = ["a red cube", "two dogs on a beach", "a lighthouse at night, oil on canvas"]
HEAD = "sac+logos+ava1-l14-linearMSE.pth"
PICK = ("PickScore_v1/model.safetensors", "PickScore_v1/config.json")


@pytest.fixture(scope="module", autouse=True)
def configurations(tmp_path_factory):
    """open_clip's "tiny", and "tiny-quickgelu" as open_clip names what OpenAI's weights need."""
    folder = tmp_path_factory.mktemp("configs")
    for name, extra in (("tiny", {}), ("tiny-quickgelu", {"quick_gelu": True})):
        config = {
            "embed_dim": 32,
            "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
        }
        (folder / f"{name}.json").write_text(json.dumps({**config, **extra}))
    open_clip.add_model_config(folder)


@pytest.fixture
def network():
    """Random weights, larger than at initialisation: there activations are too small for GELUs to differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.create_model("tiny-quickgelu").eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data *= 3
    return network.requires_grad_(False)


@pytest.fixture
def saved(network, tmp_path, monkeypatch):
    """saved(names) -> the folder with the network's weights under them, in the form that each suffix says."""
    from safetensors.torch import save_file

    def save(*names):
        for name in names:
            state = network.state_dict()
            if name.endswith(".safetensors"):
                save_file(state, tmp_path / name)
            else:
                torch.save({"state_dict": state, "epoch": 1}, tmp_path / name)
        register(monkeypatch, tmp_path, *names)
        return tmp_path

    return save


def tiny(name, **fields):
    return replace(EXTRACTORS[name], model="tiny-quickgelu", **fields)


def as_open_clip(x, network):
    """open_clip's own preprocessing of saved images."""
    transform = open_clip.image_transform(32, is_train=False)
    batch = [transform(Image.fromarray(image)) for image in x.permute(0, 2, 3, 1).numpy()]
    return functional.normalize(network.encode_image(torch.stack(batch)), dim=-1)


@pytest.mark.parametrize("name", ["clip-vitb32", "hpsv2", "hpsv2.1"])
def test_scores_are_a_hundred_cosines_of_open_clips_own_embeddings(name, network, saved):
    extractor = tiny(name)
    saved(*extractor.files)
    loaded = extractor.load()
    x = images(3, 50)
    image = as_open_clip(x, network)
    text = functional.normalize(network.encode_text(open_clip.get_tokenizer("tiny")(CAPTIONS)), dim=-1)
    torch.testing.assert_close(loaded(x)["image"], image, rtol=0, atol=1e-6)
    scores = loaded.score(x, CAPTIONS)
    torch.testing.assert_close(scores, 100 * (image * text).sum(-1), rtol=0, atol=1e-4)
    assert scores.std() > 0.5
    swapped = loaded.score(x, [*CAPTIONS[1:], CAPTIONS[0]])
    assert (scores - swapped).abs().max() > 0.5


def test_a_prefix_stands_before_every_caption(saved):
    extractor = tiny("clip-vitb32")
    saved(*extractor.files)
    prefixed = replace(extractor, prefix="A photo depicts ").load()
    plain = extractor.load()
    expected = plain.texts(["A photo depicts " + caption for caption in CAPTIONS])
    assert torch.equal(prefixed.texts(CAPTIONS), expected)
    assert (expected - plain.texts(CAPTIONS)).abs().max() > 0.01


def test_openais_weights_run_with_quick_gelu(network, saved):
    """x * sigmoid(1.702 x), not GELU, in both towers; the file alone does not tell open_clip so."""

    class Quick(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(1.702 * x)

    extractor = tiny("clip-vitb32")
    saved(*extractor.files)
    plain = open_clip.create_model("tiny").eval()
    plain.load_state_dict(network.state_dict())
    x = images(2, 32)
    loaded = extractor.load()
    other = as_open_clip(x, plain)
    for module in [module for module in plain.modules() if isinstance(getattr(module, "gelu", None), nn.GELU)]:
        module.gelu = Quick()
    torch.testing.assert_close(loaded(x)["image"], as_open_clip(x, plain), rtol=0, atol=1e-6)
    assert (loaded(x)["image"] - other).abs().max() > 1e-3
    with pytest.raises(ValueError, match="OpenAI's weights need tiny-quickgelu, not tiny"):
        replace(extractor, model="tiny")


def test_cmmds_embeddings_are_cmmd_pytorchs(network, saved):
    """Bicubic without antialiasing on [0, 1], neither cropped nor rounded, CLIP's mean and deviation, length 1."""
    extractor = tiny("clip-vitl14-336")
    saved(*extractor.files)
    x = images(2, 80)
    resized = functional.interpolate(x / 255, size=(32, 32), mode="bicubic")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    embedded = network.encode_image((resized - mean) / std)
    expected = embedded / torch.linalg.norm(embedded, dim=-1, keepdim=True)
    found = extractor.load()(x)["image"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    antialiased = functional.interpolate(x / 255, size=(32, 32), mode="bicubic", antialias=True)
    other = functional.normalize(network.encode_image((antialiased - mean) / std), dim=-1)
    assert (found - other).abs().max() > 1e-3


def test_a_row_is_its_own_images_alone_and_grey_is_rgb(saved):
    extractor = tiny("clip-vitb32")
    saved(*extractor.files)
    loaded = extractor.load()
    grey = images(5, 32, channels=1)
    together = loaded(grey)["image"]
    assert together.dtype == torch.float32
    assert not together.requires_grad
    torch.testing.assert_close(together[3:4], loaded(grey[3:4].repeat(1, 3, 1, 1))["image"], rtol=0, atol=1e-6)
    texts = loaded.texts(CAPTIONS)
    torch.testing.assert_close(texts[1:2], loaded.texts(CAPTIONS[1:2]), rtol=0, atol=1e-6)
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(3))


def test_images_that_are_not_square_or_lack_captions_are_refused(saved):
    extractor = tiny("clip-vitb32")
    saved(*extractor.files)
    loaded = extractor.load()
    with pytest.raises(ValueError, match=r"square images, not \(8, 9\): crop first"):
        loaded(torch.zeros(1, 3, 8, 9, dtype=torch.uint8))
    with pytest.raises(ValueError, match="2 images have 3 captions"):
        loaded.score(images(2), CAPTIONS)


@pytest.fixture
def aesthetic(saved, monkeypatch):
    """The predictor's real keys on the tiny network's 32 dimensions, biases away from 0."""
    rng = torch.Generator().manual_seed(1)
    widths = {"0": (1024, 32), "2": (128, 1024), "4": (64, 128), "6": (16, 64), "7": (1, 16)}
    head = {}
    for number, (out, inner) in widths.items():
        head[f"layers.{number}.weight"] = torch.randn(out, inner, generator=rng) * (2 / inner) ** 0.5
        head[f"layers.{number}.bias"] = torch.randn(out, generator=rng)
    extractor = tiny("aesthetic")
    folder = saved(extractor.files[0])
    torch.save(head, folder / HEAD)
    register(monkeypatch, folder, *extractor.files)
    return extractor, head


def test_the_aesthetic_score_is_one_affine_map_of_the_embedding_of_length_one(network, aesthetic):
    """improved-aesthetic-predictor, simple_inference.py: no activations, no dropout at evaluation."""
    extractor, head = aesthetic
    slope, offset = torch.eye(32, dtype=torch.float64), torch.zeros(32, dtype=torch.float64)
    for number in "02467":
        weight, bias = head[f"layers.{number}.weight"].double(), head[f"layers.{number}.bias"].double()
        slope, offset = weight @ slope, weight @ offset + bias
    x = images(3, 32)
    embedded = as_open_clip(x, network)
    expected = embedded.double() @ slope.T + offset
    found = extractor.load()(x)
    torch.testing.assert_close(found["image"].norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(found["aesthetic"].double(), expected, rtol=1e-4, atol=1e-4)
    assert found["aesthetic"].std() > 0.05


def test_a_head_of_another_form_is_refused(aesthetic, tmp_path, monkeypatch):
    extractor, head = aesthetic
    head.pop("layers.7.bias")
    torch.save(head, tmp_path / HEAD)
    register(monkeypatch, tmp_path, HEAD)
    with pytest.raises(RuntimeError, match=r"7\.bias"):
        extractor.load()


def test_weights_of_another_network_are_refused(saved, monkeypatch):
    extractor = tiny("hpsv2")
    folder = saved(*extractor.files)
    state = torch.load(folder / extractor.files[0], weights_only=True)
    state["state_dict"].pop("visual.proj")
    torch.save(state, folder / extractor.files[0])
    register(monkeypatch, folder, *extractor.files)
    with pytest.raises(RuntimeError, match=r"visual\.proj"):
        extractor.load()


def test_the_protocols_tell_the_scores_apart():
    protocols = {
        (*extractor.settings(), extractor.network)
        for extractor in EXTRACTORS.values()
        if isinstance(extractor, ClipExtractor)
    }
    assert len(protocols) == 6


class TestPickScore:
    @pytest.fixture
    def official(self, tmp_path, monkeypatch):
        transformers = pytest.importorskip("transformers")
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        config = transformers.CLIPConfig(
            text_config={**sizes, "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407},
            vision_config={**sizes, "image_size": 32, "patch_size": 8},
            projection_dim=16,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = transformers.CLIPModel(config).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data *= 20
        model.save_pretrained(tmp_path / "PickScore_v1")
        register(monkeypatch, tmp_path, *PICK)
        return model

    def test_it_is_the_models_logits_of_each_image_with_its_caption(self, official):
        x = images(3, 50)
        transform = open_clip.image_transform(32, is_train=False)
        pixels = torch.stack([transform(Image.fromarray(image)) for image in x.permute(0, 2, 3, 1).numpy()])
        tokens = open_clip.tokenize(CAPTIONS)
        with torch.no_grad():
            expected = official(input_ids=tokens, pixel_values=pixels)
        loaded = EXTRACTORS["pickscore"].load()
        scores = loaded.score(x, CAPTIONS)
        torch.testing.assert_close(scores, expected.logits_per_image.diagonal(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(loaded(x)["image"], expected.image_embeds, rtol=0, atol=1e-5)
        assert scores.std() > 0.1
        torch.testing.assert_close(loaded.score(x[1:2], CAPTIONS[1:2]), scores[1:2], rtol=1e-4, atol=1e-4)

    def test_what_pads_a_caption_is_never_looked_at(self, official):
        """The original processor pads with the end's own token, this one with 0."""
        tokens = open_clip.tokenize(CAPTIONS)
        padded = torch.where(tokens == 0, 49407, tokens)
        pixels = torch.zeros(3, 3, 32, 32)
        with torch.no_grad():
            found = [official(input_ids=ids, pixel_values=pixels).text_embeds for ids in (tokens, padded)]
        torch.testing.assert_close(*found)

    def test_a_file_in_half_precision_is_computed_with_in_float32(self, official, tmp_path, monkeypatch):
        x = images(2, 32)
        official.half().save_pretrained(tmp_path / "PickScore_v1")
        register(monkeypatch, tmp_path, *PICK)
        loaded = EXTRACTORS["pickscore"].load()
        assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
        assert loaded.score(x, CAPTIONS[:2]).dtype == torch.float32

    def test_a_network_is_never_completed_with_random_numbers(self, official, tmp_path, monkeypatch):
        from safetensors.torch import load_file, save_file

        state = load_file(tmp_path / PICK[0])
        state.pop("visual_projection.weight")
        save_file(state, tmp_path / PICK[0], metadata={"format": "pt"})
        register(monkeypatch, tmp_path, *PICK)
        with pytest.raises(RuntimeError, match=r"holds another network: visual_projection\.weight is not there"):
            EXTRACTORS["pickscore"].load()

    def test_captions_are_paired_with_images(self, official):
        with pytest.raises(ValueError, match="1 images have 3 captions"):
            EXTRACTORS["pickscore"].load().score(images(1), CAPTIONS)


def test_no_network_is_built_from_a_wrong_file(saved):
    extractor = tiny("clip-vitb32")
    folder = saved(*extractor.files)
    file = folder / extractor.files[0]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileNotFoundError, match=r"ViT-B-32-openai\.safetensors \(another hash than"):
        extractor.load()
