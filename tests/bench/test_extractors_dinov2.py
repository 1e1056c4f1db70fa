"""DINOv2's features on timm's small network with random weights, against the forward pass that the paper describes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.bench.metrics.extractors.dinov2 import positions
from fewstep.tests.bench.stand_ins import images, register

timm = pytest.importorskip("timm")

FILE = "dinov2_vitl14_pretrain.pth"
SIDE, HEADS, DEPTH = 56, 6, 12


@pytest.fixture(scope="module")
def state():
    """The small model's state dict with the published files' keys: positions of 37 x 37 cells, and a mask token."""
    with torch.device("meta"):
        shapes = timm.create_model("vit_small_patch14_dinov2", num_classes=0).state_dict()
    rng = torch.Generator().manual_seed(0)
    state = {}
    for name, value in shapes.items():
        scale = value[0].numel() ** -0.5 if value.ndim > 1 and name.endswith("weight") else 0.5
        state[name] = torch.randn(value.shape, generator=rng) * scale
        if "norm" in name and name.endswith("weight"):
            state[name] += 1
    state["mask_token"] = torch.zeros(1, 384)
    return state


@pytest.fixture
def extractor(state, tmp_path, monkeypatch):
    torch.save(state, tmp_path / FILE)
    register(monkeypatch, tmp_path, FILE)
    return replace(EXTRACTORS["dinov2-vitl14"], model="vit_small_patch14_dinov2", side=SIDE)


def class_token(state, x):
    """facebookresearch/dinov2's vision transformer, of images as dgm-eval prepares them."""
    pixels = [
        np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for image in x.permute(0, 2, 3, 1).numpy()
    ]
    batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    batch = (batch - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    patches = functional.conv2d(batch, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=14)
    tokens = torch.cat([state["cls_token"].expand(len(x), -1, -1), patches.flatten(2).mT], 1)
    tokens = tokens + positions(state["pos_embed"], SIDE // 14)

    def norm(tokens, name):
        return functional.layer_norm(tokens, (384,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(tokens, name):
        return tokens @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    for i in range(DEPTH):
        block = f"blocks.{i}"
        q, k, v = linear(norm(tokens, f"{block}.norm1"), f"{block}.attn.qkv").unflatten(2, (3, HEADS, 64)).unbind(2)
        weights = torch.einsum("bqhd,bkhd->bhqk", q, k).div(8).softmax(-1)
        heads = torch.einsum("bhqk,bkhd->bqhd", weights, v).flatten(2)
        tokens = tokens + state[f"{block}.ls1.gamma"] * linear(heads, f"{block}.attn.proj")
        hidden = functional.gelu(linear(norm(tokens, f"{block}.norm2"), f"{block}.mlp.fc1"))
        tokens = tokens + state[f"{block}.ls2.gamma"] * linear(hidden, f"{block}.mlp.fc2")
    return norm(tokens, "norm")[:, 0]


def test_features_are_the_class_token_after_the_last_norm(extractor, state):
    x = images(3, 90)
    found = extractor.load()(x)["cls"]
    torch.testing.assert_close(found, class_token(state, x), rtol=1e-3, atol=1e-3)
    assert (found[0] - found[1]).abs().max() > 0.1


def test_positions_are_scaled_as_dinov2_does_it(state):
    """Bicubic (a = -0.75) at (target + 1/2) / s - 1/2 with s = (cells + 0.1) / 37, edges repeated, not antialiased."""
    n, cells = 37, 16
    embedding = state["pos_embed"].double()
    grid = embedding[0, 1:].view(n, n, -1)
    source = (np.arange(cells) + 0.5) * n / (cells + 0.1) - 0.5
    taps = np.zeros((cells, n))
    for row, at in enumerate(source):
        for k in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            d = abs(at - k)
            near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            taps[row, np.clip(k, 0, n - 1)] += near if d <= 1 else far
    taps = torch.from_numpy(taps)
    expected = torch.einsum("in,jm,nmd->ijd", taps, taps, grid).flatten(0, 1)
    found = positions(embedding, cells)
    assert torch.equal(found[:, 0], embedding[:, 0])
    torch.testing.assert_close(found[0, 1:], expected, rtol=0, atol=1e-5)
    assert positions(embedding, n) is embedding


def test_timms_own_scaling_of_positions_would_give_other_features(extractor, state, tmp_path):
    own = timm.create_model(
        "vit_small_patch14_dinov2", img_size=SIDE, num_classes=0, pretrained=True,
        pretrained_cfg_overlay={"file": str(tmp_path / FILE)},
    )  # fmt: skip
    loaded = extractor.load()
    apart = own.pos_embed - loaded.network.pos_embed
    assert apart.abs().max() > 0.05 * loaded.network.pos_embed.std()
    own.pos_embed.data.copy_(loaded.network.pos_embed)
    for name, value in own.state_dict().items():
        assert torch.equal(value, loaded.network.state_dict()[name]), name


def test_a_row_is_its_own_images_alone_and_grey_is_rgb(extractor):
    loaded = extractor.load()
    grey = images(3, 32, channels=1)
    together = loaded(grey)["cls"]
    assert together.dtype == torch.float32
    assert not together.requires_grad
    torch.testing.assert_close(together[2:], loaded(grey[2:].repeat(1, 3, 1, 1))["cls"], rtol=1e-4, atol=1e-4)


def test_weights_of_another_network_are_refused(extractor, state, tmp_path, monkeypatch):
    torch.save({name: value for name, value in state.items() if name != "norm.weight"}, tmp_path / FILE)
    register(monkeypatch, tmp_path, FILE)
    with pytest.raises(RuntimeError, match=r"norm\.weight"):
        extractor.load()


def test_the_published_size_is_vit_large_at_224_pixels():
    extractor = EXTRACTORS["dinov2-vitl14"]
    with torch.device("meta"):
        network = timm.create_model(extractor.model, img_size=extractor.side, num_classes=0, global_pool="token")
    assert network.num_features == 1024
    assert network.pos_embed.shape == (1, 1 + 16 * 16, 1024)
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(303e6, rel=0.01)
