"""EDM's networks against the outputs, names and initialisation of its own classes."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep.methods.networks import edm_network
from fewstep.methods.networks.dhariwal import KAIMING, ZERO
from fewstep.methods.networks.edm_layers import (
    BlockStyle,
    Conv2d,
    FourierEmbedding,
    GroupNorm,
    Init,
    PositionalEmbedding,
    UNetBlock,
)
from fewstep.methods.networks.initialise import drawn_anew

NCSNPP = {
    "embedding_type": "fourier",
    "encoder_type": "residual",
    "channel_mult_noise": 2,
    "resample_filter": [1, 3, 3, 1],
}
SONG = {
    "model_type": "SongUNet",
    "img_resolution": 16,
    "img_channels": 3,
    "label_dim": 10,
    "augment_dim": 9,
    "model_channels": 32,
    "channel_mult": [1, 2],
    "num_blocks": 1,
    "attn_resolutions": [8],
}
ADM = {**SONG, "model_type": "DhariwalUNet"}


def models(folder: Path) -> dict[str, dict[str, Any]]:
    """The reference models in `folder`, by name."""
    files = sorted((folder / "networks").glob("*.json"))
    found = {file.stem: json.loads(file.read_text()) for file in files}
    return {name: entry for name, entry in found.items() if "precond" in entry}


def lively(name: str, shape: Sequence[int]) -> Tensor:
    """Weights under which every path of a network contributes, where EDM's own start at zero."""
    if len(shape) >= 2:
        return torch.randn(shape) * math.prod(shape[1:]) ** -0.5
    return (1.0 if "norm" in name and name.endswith("weight") else 0.0) + 0.2 * torch.randn(shape)


def reference_weights(file: Path, entry: dict[str, Any], arrays, net: nn.Module) -> dict[str, Tensor]:
    """The weights that the reference outputs were computed with: from the file, else drawn again as it was."""
    if file.exists():
        return load_file(file)
    torch.manual_seed(entry["seed"])
    own, weights = net.state_dict(), {}
    for name, shape in entry["state_dict"].items():
        if name.endswith("freqs"):
            weights[name] = arrays["freqs"]
        elif name.endswith("resample_filter") or name == "u":
            weights[name] = own[name]
        else:
            weights[name] = lively(name, shape)
    return weights


@pytest.fixture(scope="module")
def loaded(reference, reference_folder):
    """name -> (description, arrays, network with the reference's weights, in eval mode)."""
    found = {}
    for name, entry in models(reference_folder).items():
        arrays, net = reference(f"networks/{name}"), edm_network(entry)
        net.load_state_dict(
            reference_weights(reference_folder / f"networks/{name}.safetensors", entry, arrays, net), strict=True
        )
        found[name] = (entry, arrays, net.eval())
    assert found, f"no networks in {reference_folder}"
    return found


def labels(arrays, name: str) -> Tensor | None:
    return arrays[name] if name in arrays.names else None


def test_reference_names_and_shapes(loaded):
    for name, (entry, _, net) in loaded.items():
        own = [(key, list(tensor.shape)) for key, tensor in net.state_dict().items()]
        assert own == list(entry["state_dict"].items()), name
        assert sum(tensor.numel() for tensor in net.state_dict().values()) == entry["n_params"], name


@torch.no_grad()
def test_reference_denoisers(loaded):
    for name, (_, arrays, net) in loaded.items():
        x, sigma, classes = arrays["x"], arrays["sigma"], labels(arrays, "class_labels")
        calls = {"D": (classes, None), "D_aug": (classes, labels(arrays, "augment_labels")), "D_nolabel": (None, None)}
        for key, arguments in calls.items():
            if key in arrays:
                expected = arrays[key]
                value = net(x, sigma, *arguments)
                assert value.dtype == torch.float32
                assert float((value - expected).abs().max() / expected.abs().max()) < 2e-5, (name, key)


@torch.no_grad()
def test_reference_networks_in_float32_and_float64(loaded, reference_folder):
    for name, (entry, arrays, net) in loaded.items():
        x, c_noise, classes = arrays["raw_x"], arrays["raw_c_noise"], labels(arrays, "class_labels")
        expected = arrays["raw_F"]
        value = net.model(x, c_noise, classes)
        assert float((value - expected).abs().max() / expected.abs().max()) < 2e-5, name
        exact = edm_network(entry).double().eval()
        exact.load_state_dict(net.state_dict())
        classes = None if classes is None else classes.double()
        value = exact.model(x.double(), c_noise.double(), classes)
        assert float((value - arrays["raw_F_float64"]).abs().max()) < 1e-5, name


def test_reference_scalings_and_ranges(loaded):
    for name, (entry, arrays, net) in loaded.items():
        scalings = net.scalings(arrays["pc_sigma"])
        for key, value in zip(("c_skip", "c_out", "c_in", "c_noise"), scalings, strict=True):
            torch.testing.assert_close(value, arrays[key], rtol=1e-6, atol=1e-6, msg=f"{name} {key}")
        for key in ("sigma_min", "sigma_max"):
            assert getattr(net, key) == pytest.approx(float(entry[key]), rel=1e-6), (name, key)


def conv_arguments(meta: dict[str, str]) -> dict[str, Any]:
    """Constructor arguments as layers.npz names them, for Conv2d."""
    renamed = {"in_channels": "channels_in", "out_channels": "channels_out", "fused_resample": "fused"}
    values = {renamed.get(key, key): json.loads(value.lower()) for key, value in meta.items()}
    return {**values, "init": Init("xavier")}


def test_reference_resampling_convolutions(reference):
    arrays = reference("networks/layers")
    assert arrays.meta
    for name, meta in arrays.meta.items():
        layer = Conv2d(**conv_arguments(meta))
        prefix = f"{name}/sd/"
        taps = layer.resample_filter.clone()
        layer.load_state_dict({key.removeprefix(prefix): arrays[key] for key in arrays.names if key.startswith(prefix)})
        assert torch.equal(taps, layer.resample_filter), name
        torch.testing.assert_close(
            layer(arrays[f"{name}/in0"]), arrays[f"{name}/out"], msg=lambda m, n=name: f"{n}: {m}"
        )


def test_reference_embeddings_and_groups(reference):
    arrays = reference("networks/layers")
    groups = [key for key in arrays.names if key.startswith("groupnorm_groups/")]
    positional = [key.removesuffix("/in") for key in arrays.names if key.startswith("posemb/") and key.endswith("/in")]
    assert groups
    assert positional
    for key in groups:
        assert GroupNorm(int(key.split("/")[1])).num_groups == int(arrays[key])
    for key in positional:
        channels, endpoint = map(int, key.split("/")[1].split("_"))
        torch.testing.assert_close(
            PositionalEmbedding(channels, bool(endpoint))(arrays[f"{key}/in"]), arrays[f"{key}/out"]
        )
    fourier = FourierEmbedding(2 * len(arrays["fourier/freqs"]))
    fourier.load_state_dict({"freqs": arrays["fourier/freqs"]})
    # float32 angles of some hundred radians are known to 1e-5.
    torch.testing.assert_close(fourier(arrays["fourier/in"]), arrays["fourier/out"], rtol=0, atol=5e-5)


@torch.no_grad()
def test_reference_block_with_two_heads(reference, reference_folder):
    weights = reference_folder / "networks/unetblock_multihead.safetensors"
    if not weights.exists():
        pytest.skip("1.5 MB of weights: in the full set only")
    arrays = reference("networks/unetblock_multihead")
    block = UNetBlock(128, 128, BlockStyle(16, KAIMING, ZERO, KAIMING, channels_per_head=64), attention=True).eval()
    block.load_state_dict(load_file(weights))
    assert block.heads == int(arrays["num_heads"])
    expected = arrays["out"]
    assert float((block(arrays["x"], arrays["emb"]) - expected).abs().max() / expected.abs().max()) < 2e-5


@torch.no_grad()
def test_heads_are_outermost_and_queries_keys_values_innermost():
    style = BlockStyle(16, KAIMING, ZERO, KAIMING, channels_per_head=64)
    block = livened(UNetBlock(128, 128, style, attention=True)).eval()
    without = UNetBlock(128, 128, style).eval()
    without.load_state_dict({key: value for key, value in block.state_dict().items() if key in without.state_dict()})
    x, embedding = torch.randn(2, 128, 4, 4), torch.randn(2, 16)
    h = without(x, embedding)
    rows = block.qkv(block.norm2(h)).flatten(2)
    values = torch.empty(2, 128, 16)
    for head in range(2):
        q, k, v = (rows[:, 192 * head + part : 192 * (head + 1) : 3] for part in range(3))
        weights = torch.softmax(q.transpose(1, 2) @ k / 8, dim=2)
        values[:, 64 * head : 64 * (head + 1)] = v @ weights.transpose(1, 2)
    torch.testing.assert_close(block(x, embedding), h + block.proj(values.reshape(h.shape)), rtol=1e-4, atol=1e-5)


def test_a_block_narrower_than_a_head_has_none():
    block = UNetBlock(32, 32, BlockStyle(16, KAIMING, ZERO, KAIMING, channels_per_head=64), attention=True)
    assert not [name for name, _ in block.named_parameters() if "qkv" in name]


def test_reference_initialisation(reference_folder):
    """Two draws of n weights of one law: their statistics differ by sampling error, here six standard errors.

    The standard error of a mean is std / sqrt(n); that of a std is std sqrt((kurtosis - 1) / (4 n)), at most
    std / sqrt(2 n), which a Gaussian has. The largest of n uniform draws falls short of the bound by a fraction whose
    law is exponential with mean 1 / n: more than 15 / n has probability e^-15.
    """
    stored = json.loads((reference_folder / "networks/init_stats.json").read_text())
    configs = {"songunet_ddpmpp": SONG, "dhariwal": ADM}
    assert stored
    for model, parameters in stored.items():
        torch.manual_seed(0)
        own = dict(edm_network(configs[model]).model.named_parameters())
        assert list(own) == list(parameters)
        for name, (mean, std, largest) in parameters.items():
            weights, n = own[name].detach(), own[name].numel()
            where = f"{model} {name}"
            assert abs(float(weights.mean()) - mean) <= 6 * std * math.sqrt(2 / n), where
            assert abs(float(weights.std()) - std) <= 6 * std / math.sqrt(n), where
            if model == "dhariwal" and name == "map_label.weight":
                # Gaussian, of unit variance: the largest of n has no bound to compare.
                assert largest > 1
                continue
            assert abs(float(weights.abs().max()) - largest) <= 15 * largest / n, where


@pytest.mark.parametrize(
    ("config", "parameters", "entries"),
    [
        ({"img_resolution": 32, "channel_mult": [2, 2, 2]}, 55_733_891, 425),
        ({"img_resolution": 32, "channel_mult": [2, 2, 2], "label_dim": 10}, 55_735_299, 427),
        ({"img_resolution": 32, "channel_mult": [2, 2, 2], **NCSNPP}, 56_397_827, 432),
        ({"img_resolution": 32, "channel_mult": [2, 2, 2], **NCSNPP, "label_dim": 10}, 56_400_643, 434),
        ({"img_resolution": 64}, 61_805_571, 553),
        ({"img_resolution": 64, **NCSNPP}, 62_761_091, 563),
        ({"img_resolution": 64, "label_dim": 1000, "model_type": "DhariwalUNet", "augment_dim": 0}, 295_899_267, 553),
    ],
)
def test_public_checkpoints_have_these_sizes(config, parameters, entries):
    with torch.device("meta"):
        net = edm_network({"model_type": "SongUNet", "img_channels": 3, "augment_dim": 9, **config})
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters
    assert len(net.state_dict()) == entries


@pytest.mark.parametrize(
    ("config", "gflop"),
    [
        ({"img_resolution": 32, "channel_mult": [2, 2, 2]}, 42.4),
        ({"img_resolution": 64}, 83.7),
        ({"img_resolution": 64, "label_dim": 1000, "model_type": "DhariwalUNet", "augment_dim": 0}, 219.3),
    ],
)
def test_a_forward_of_a_public_checkpoint_costs_as_much_as_edms_own_code(config, gflop):
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = edm_network({"model_type": "SongUNet", "img_channels": 3, "augment_dim": 9, **config})
        net(torch.empty(1, 3, config["img_resolution"], config["img_resolution"]), torch.ones(1))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflop, abs=0.05)


@pytest.mark.parametrize("config", [SONG, {**SONG, **NCSNPP}, ADM], ids=["ddpmpp", "ncsnpp", "adm"])
def test_weights_drawn_anew_depend_on_the_seed_alone(config):
    net = edm_network(config)
    parameters = dict(net.named_parameters())
    first, again, other = (drawn_anew(livened(net), seed).state_dict() for seed in (1, 1, 2))
    for name, weights in first.items():
        assert torch.equal(weights, again[name]), name
        constant = name not in parameters or float(weights.std()) == 0.0
        assert torch.equal(weights, other[name]) is constant, name
    assert float(first["model.enc.16x16_block0.conv1.weight"].abs().max()) < 1e-5


def livened(net: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.copy_(lively(name, parameter.shape))
    return net


@pytest.mark.parametrize("config", [SONG, ADM], ids=["song", "adm"])
def test_labels_are_dropped_in_training_alone(config):
    net = livened(edm_network({**config, "label_dropout": 0.5, "dropout": 0.0}))
    torch.manual_seed(0)
    x = torch.randn(1, 3, 16, 16).expand(16, -1, -1, -1)
    classes = torch.eye(10)[[4] * 16]
    with torch.no_grad():
        net.eval()
        known, unknown = net(x, 1.0, classes)[0], net(x, 1.0)[0]
        net.train()
        rows = net(x, 1.0, classes)
    assert float((known - unknown).abs().max()) > 1e-2
    kept = [bool(torch.allclose(row, known, atol=1e-4)) for row in rows]
    dropped = [bool(torch.allclose(row, unknown, atol=1e-4)) for row in rows]
    assert any(kept)
    assert any(dropped)
    assert all(a != b for a, b in zip(kept, dropped, strict=True))


@torch.no_grad()
def test_noise_levels_are_one_or_one_for_each_row():
    net = livened(edm_network(SONG)).eval()
    x = torch.randn(3, 3, 16, 16)
    expected = net(x, torch.full((3,), 0.7))
    for sigma in (0.7, torch.tensor(0.7), torch.tensor([0.7], dtype=torch.float64)):
        torch.testing.assert_close(net(x, sigma), expected)
    assert net.double()(x, 0.7).dtype == torch.float64


def test_a_config_is_nested_or_flat():
    flat, nested = edm_network({**SONG, "use_fp16": True}), edm_network({"kwargs": SONG, "seed": 1})
    assert flat.state_dict().keys() == nested.state_dict().keys()
    assert (flat.label_dim, flat.img_resolution, flat.img_channels) == (10, 16, 3)
    assert (flat.sigma_min, flat.sigma_max, flat.sigma_data) == (0.0, math.inf, 0.5)
    assert edm_network({**SONG, "precond": "VEPrecond", "sigma_max": 50}).sigma_max == 50.0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"precond": "CosinePrecond"}, "CosinePrecond"),
        ({"model_type": "VisionTransformer"}, "VisionTransformer"),
        ({"chanel_mult": [1]}, "chanel_mult"),
        ({"model_type": "DhariwalUNet", "encoder_type": "skip"}, "encoder_type"),
        ({"precond": "VPPrecond", "sigma_data": 0.5}, "sigma_data"),
        ({"embedding_type": "learned"}, "learned"),
    ],
)
def test_what_edm_does_not_have_is_named(wrong, named):
    with pytest.raises(ValueError, match=named) as error:
        edm_network({**SONG, **wrong})
    assert "\n" not in str(error.value)


def test_a_resolution_is_required():
    with pytest.raises(ValueError, match="img_channels, img_resolution"):
        edm_network({"precond": "EDMPrecond"})
