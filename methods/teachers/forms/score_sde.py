"""score_sde_pytorch's networks (Song et al. 2021), which are SongUNet and DDPMUNet under running numbers.

Its `all_modules` is one list in the order of the forward pass; its average is a list of parameters without names.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.ddpm import DDPMUNet
from ...networks.song import SongUNet
from ...paths import EDM, Path, VPLinear
from ..pretrained import Pretrained
from . import schedules
from .base import Checkpoint, CheckpointError, Label, State, agree, counted, fitted, negate, outline, tensors

PREFIX = "all_modules."
EXAMPLE = (
    '{"form": "score-sde", "sde": "vp" or "ve", "network": {"name": "ncsnpp", "image_size": 32, "nf": 128, ...}}, with '
    "the fields of its model configuration"
)
ONLY = {
    "skip_rescale": True,
    "resblock_type": "biggan",
    "progressive": "none",
    "progressive_combine": "sum",
    "conditional": True,
    "nonlinearity": "swish",
    "normalization": "GroupNorm",
}
"""Fields that the published configurations share, and that no other network here has otherwise."""
FREE = {
    "name", "image_size", "num_channels", "nf", "ch_mult", "num_res_blocks", "attn_resolutions", "fir", "fir_kernel",
    "embedding_type", "fourier_scale", "progressive_input", "scale_by_sigma", "centered", "dropout",
    "resamp_with_conv", "num_scales", "ema_rate", "init_scale", "conv_size", "sigma_min", "sigma_max", "beta_min",
    "beta_max",
}  # fmt: skip


def pick(content: Any) -> State | None:
    """The averaged network's parameters by their names, None in another form."""
    if not isinstance(content, Mapping):
        return None
    if isinstance(content.get("model"), Mapping) and any(PREFIX in str(name) for name in content["model"]):
        return _averaged(tensors(content["model"]), content.get("ema"))
    if any(str(name).removeprefix("module.").startswith(PREFIX) for name in content):
        return _modules(tensors(content))
    return None


def _modules(state: State) -> State:
    """Without the buffer of noise levels."""
    return {name: tensor for name, tensor in state.items() if name.startswith(PREFIX)}


def _averaged(state: State, ema: Any) -> State:
    """`shadow_params` are those that are trained, in the network's order: all but the Fourier frequencies."""
    state = _modules(state)
    trained = [name for name, tensor in state.items() if not (name.endswith(".W") and tensor.ndim == 1)]
    shadow = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    if not isinstance(shadow, list | tuple) or len(shadow) != len(trained):
        raise CheckpointError(
            f"its `ema` has no shadow_params, one for each of the network's {len(trained)} parameters"
        )
    averaged = tensors(dict(zip(trained, shadow, strict=True)))
    for name, tensor in averaged.items():
        if tensor.shape != state[name].shape:
            raise CheckpointError(f"its average has another order than its network: see {name}")
    return {name: averaged.get(name, tensor) for name, tensor in state.items()}


def log_half(sigma: Tensor) -> Tensor:
    """Their data lie in [0, 1], where noise of `sigma` is half as large."""
    return torch.log(sigma / 2)


def label_999(t: Tensor) -> Tensor:
    return 999 * t


def build(checkpoint: Checkpoint, dropout: float = 0.0) -> Pretrained:
    config = checkpoint.config
    fields, state = config["network"], checkpoint.state
    _check(fields)
    sde, continuous = config.get("sde"), config.get("continuous", True)
    if sde not in ("vp", "ve"):
        what = "sub-VP, a path that fewstep does not have" if sde == "subvp" else f"{sde!r}, and must be vp or ve"
        raise CheckpointError(f"its sde is {what}")
    if (sde == "ve") != (fields.get("embedding_type", "positional") == "fourier") or (sde == "ve" and not continuous):
        raise CheckpointError("a continuous `ve` network has an embedding_type fourier, one of `vp` positional")
    network = _ddpm(fields, state, dropout) if fields["name"] == "ddpm" else _song(fields, state, dropout)
    path, time_of = _conventions(sde, continuous)
    if sde == "ve":
        # It predicts -eps before it divides by sigma.
        negate(*(layer for name, layer in network.named_modules() if name.endswith("aux_conv")))
    side = fields["image_size"]
    return Pretrained(network, path, "eps", time_of, (fields.get("num_channels", 3), side, side))


def _check(fields: Mapping[str, Any]) -> None:
    if fields.get("name") not in ("ncsnpp", "ddpm"):
        raise CheckpointError(f"its network is called {fields.get('name')!r}; only ncsnpp and ddpm are known")
    if unknown := sorted(set(fields) - FREE - set(ONLY)):
        raise CheckpointError(f"its configuration has unknown fields: {', '.join(unknown)}")
    for name, value in ONLY.items():
        if fields.get(name, value) != value:
            raise CheckpointError(f"its {name} is {fields[name]!r}; only {value!r} is known")


def _conventions(sde: str, continuous: bool) -> tuple[Path, Callable[[Tensor], Tensor]]:
    if sde == "ve":
        return EDM(0.02, 100.0), log_half
    if continuous:
        return VPLinear(t_min=1e-5), label_999
    chain = schedules.chain("linear", 1000)
    return chain, Label(chain)


def _song(fields: Mapping[str, Any], state: State, dropout: float) -> SongUNet:
    encoders = {"none": "standard", "residual": "residual"}
    inputs, fourier = fields.get("progressive_input", "none"), fields.get("embedding_type") == "fourier"
    if inputs not in encoders:
        raise CheckpointError(f"its progressive_input is {inputs!r}; only none and residual are known")
    places = list(_places(fields, fourier, encoders[inputs]))
    width = state[f"{PREFIX}{int(fourier)}.weight"].shape[0]
    agree({**fields, "modules": len(places)}, {"modules": counted(state, PREFIX), "nf": width // 4})
    taps = tuple(fields.get("fir_kernel", (1, 3, 3, 1))) if fields.get("fir", False) else (1, 1)

    def make() -> SongUNet:
        return SongUNet(
            img_resolution=fields["image_size"],
            in_channels=fields.get("num_channels", 3),
            out_channels=fields.get("num_channels", 3),
            model_channels=fields["nf"],
            channel_mult=fields["ch_mult"],
            num_blocks=fields["num_res_blocks"],
            attn_resolutions=fields["attn_resolutions"],
            dropout=dropout,
            embedding_type="fourier" if fourier else "positional",
            channel_mult_noise=2 if fourier else 1,
            encoder_type=encoders[inputs],
            resample_filter=taps,
        )

    row = torch.as_tensor(taps, dtype=torch.float32)
    kernel = (torch.outer(row, row) / row.sum() ** 2)[None, None]
    wanted = outline(make, "cpu").state_dict()
    filters = {name: kernel for name in wanted if name.endswith("resample_filter")}
    return fitted(make, _renamed(places, state) | filters, "cpu")


def _places(fields: Mapping[str, Any], fourier: bool, encoder: str) -> Iterator[tuple[str, str]]:
    """(kind, SongUNet's name) of each of `all_modules`."""
    levels, blocks = len(fields["ch_mult"]), fields["num_res_blocks"]
    if type(blocks) is not int or not 1 <= blocks <= 64 or not 1 <= levels <= 16:
        raise CheckpointError(f"its configuration says num_res_blocks {blocks!r} at {levels} levels")
    sides = [fields["image_size"] >> level for level in range(levels)]
    if fourier:
        yield "fourier", "map_noise"
    yield from (("plain", "map_layer0"), ("plain", "map_layer1"), ("plain", f"enc.{sides[0]}x{sides[0]}_conv"))
    for level, side in enumerate(sides):
        r, attends = f"enc.{side}x{side}", side in fields["attn_resolutions"]
        if level:
            yield "block", f"{r}_down"
            if encoder == "residual":
                yield "pyramid", f"{r}_aux_residual"
        for k in range(blocks):
            yield "block", f"{r}_block{k}"
            if attends:
                yield "attention", f"{r}_block{k}"
    middle = f"dec.{sides[-1]}x{sides[-1]}"
    yield from (("block", f"{middle}_in0"), ("attention", f"{middle}_in0"), ("block", f"{middle}_in1"))
    for level, side in reversed(list(enumerate(sides))):
        r = f"dec.{side}x{side}"
        if level < levels - 1:
            yield "block", f"{r}_up"
        for k in range(blocks + 1):
            yield "block", f"{r}_block{k}"
        if side in fields["attn_resolutions"]:
            yield "attention", f"{r}_block{blocks}"
    yield from (("plain", f"dec.{sides[0]}x{sides[0]}_aux_norm"), ("plain", f"dec.{sides[0]}x{sides[0]}_aux_conv"))


NAMES = {
    "plain": {"": ""},
    "pyramid": {"Conv2d_0.": ""},
    "block": {
        "GroupNorm_0.": "norm0.", "Conv_0.": "conv0.", "Dense_0.": "affine.", "GroupNorm_1.": "norm1.",
        "Conv_1.": "conv1.", "Conv_2.": "skip.",
    },
    "attention": {"GroupNorm_0.": "norm2."},
}  # fmt: skip


def _renamed(places: list[tuple[str, str]], state: State) -> State:
    found: State = {}
    for i, (kind, ours) in enumerate(places):
        theirs = f"{PREFIX}{i}."
        own = {name.removeprefix(theirs): tensor for name, tensor in state.items() if name.startswith(theirs)}
        if kind == "fourier":
            found[f"{ours}.freqs"] = own["W"]
            continue
        if kind == "attention":
            found |= {f"{ours}.{name}": tensor for name, tensor in _attention(own).items()}
        for before, after in NAMES[kind].items():
            found |= {
                f"{ours}.{after}{name.removeprefix(before)}": tensor
                for name, tensor in own.items()
                if name.startswith(before)
            }
    return found


def _attention(own: State) -> State:
    """Their 1x1 layers are matrices (in, out); in SongUNet q, k and v alternate fastest."""
    kernels = [own[f"NIN_{j}.W"].T for j in range(4)]
    biases = [own[f"NIN_{j}.b"] for j in range(4)]
    width = kernels[0].shape[1]
    return {
        "qkv.weight": torch.stack(kernels[:3], dim=1).reshape(-1, width, 1, 1),
        "qkv.bias": torch.stack(biases[:3], dim=1).reshape(-1),
        "proj.weight": kernels[3][:, :, None, None],
        "proj.bias": biases[3],
    }


def _ddpm(fields: Mapping[str, Any], state: State, dropout: float) -> nn.Module:
    arguments = {
        "image_size": fields["image_size"],
        "in_channels": fields.get("num_channels", 3),
        "out_ch": fields.get("num_channels", 3),
        "ch": fields["nf"],
        **{name: fields[name] for name in ("ch_mult", "num_res_blocks", "attn_resolutions")},
        "attn_on_the_way_up": "last",
        "dropout": dropout,
    }
    places = list(_ddpm_places(fields))
    agree({"modules": len(places)}, {"modules": counted(state, PREFIX)})
    found: State = {}
    for i, ours in enumerate(places):
        theirs = f"{PREFIX}{i}."
        for name, tensor in state.items():
            if name.startswith(theirs):
                found |= dict([_ddpm_renamed(ours, name.removeprefix(theirs), tensor)])
    return fitted(lambda: DDPMUNet(**arguments), found)


DDPM_NAMES = {
    "GroupNorm_0": "norm1", "Conv_0": "conv1", "Dense_0": "temb_proj", "GroupNorm_1": "norm2", "Conv_1": "conv2",
}  # fmt: skip
DDPM_ATTENTION = {"GroupNorm_0": "norm", "NIN_0": "q", "NIN_1": "k", "NIN_2": "v", "NIN_3": "proj_out"}


def _ddpm_renamed(ours: str, name: str, tensor: Tensor) -> tuple[str, Tensor]:
    layer, _, kind = name.rpartition(".")
    attention = "attn" in ours
    if layer.startswith("NIN_"):
        kind = {"W": "weight", "b": "bias"}[kind]
        tensor = tensor.T[:, :, None, None] if kind == "weight" else tensor
        layer = layer if attention else "nin_shortcut"
    inner = (DDPM_ATTENTION if attention else DDPM_NAMES).get(layer, layer)
    if "sample" in ours:
        inner = "conv"
    return f"{ours}.{inner}.{kind}" if layer else f"{ours}.{kind}", tensor


def _ddpm_places(fields: Mapping[str, Any]) -> Iterator[str]:
    """DDPMUNet's name of each of `all_modules`."""
    levels, blocks = len(fields["ch_mult"]), fields["num_res_blocks"]
    attends = [fields["image_size"] >> level in fields["attn_resolutions"] for level in range(levels)]
    yield from ("temb.dense.0", "temb.dense.1", "conv_in")
    for level in range(levels):
        for k in range(blocks):
            yield f"down.{level}.block.{k}"
            if attends[level]:
                yield f"down.{level}.attn.{k}"
        if level < levels - 1:
            yield f"down.{level}.downsample"
    yield from ("mid.block_1", "mid.attn_1", "mid.block_2")
    for level in reversed(range(levels)):
        yield from (f"up.{level}.block.{k}" for k in range(blocks + 1))
        if attends[level]:
            yield f"up.{level}.attn.0"
        if level:
            yield f"up.{level}.upsample"
    yield from ("norm_out", "conv_out")
