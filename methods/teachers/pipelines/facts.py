"""What a folder with a text-to-image pipeline is, from its configurations alone. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ..edm_pickle import CheckpointError
from .folder import CHAINS, ENCODER, NETWORK, configuration, digest, weights

Kind = Literal["sd", "sdxl", "pixart"]

KINDS: dict[str, Kind] = {
    "StableDiffusionPipeline": "sd",
    "LatentConsistencyModelPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "PixArtAlphaPipeline": "pixart",
    "PixArtSigmaPipeline": "pixart",
}
T5_TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300}
CLIP_TOKENS = 77

SCHEDULERS = (*CHAINS, "LCMScheduler", "TCDScheduler")
CLIP = ("CLIPTextModel", "CLIPTextModelWithProjection")
CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
NETWORKS = ("UNet2DConditionModel", "PixArtTransformer2DModel", "Transformer2DModel")
CLASSES: dict[str, tuple[str, ...]] = {
    "unet": NETWORKS[:1],
    "transformer": NETWORKS[1:],
    "vae": ("AutoencoderKL",),
    "text_encoder": (*CLIP, "T5EncoderModel"),
    "text_encoder_2": CLIP[1:],
    "tokenizer": (*CLIP_TOKENIZERS, "T5Tokenizer", "T5TokenizerFast"),
    "tokenizer_2": CLIP_TOKENIZERS,
    "scheduler": SCHEDULERS,
    "safety_checker": ("StableDiffusionSafetyChecker",),
    "feature_extractor": ("CLIPImageProcessor", "CLIPFeatureExtractor"),
}
"""Of each part of a pipeline, the classes that are known; the last two parts are never read."""
LIBRARIES = (["diffusers"], ["transformers"], ["stable_diffusion"])
NEEDED: dict[Kind, tuple[str, ...]] = {
    "sd": ("unet", "vae", "text_encoder", "tokenizer", "scheduler"),
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"),
    "pixart": ("transformer", "vae", "text_encoder", "tokenizer", "scheduler"),
}
OWN_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
"""Defaults of LCMScheduler and TCDScheduler; the others have DDPM's."""
PREDICTIONS = ("epsilon", "v_prediction", "sample")

UNUSUAL = {
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "encoder_hid_dim_type": (None,),
    "time_embedding_type": ("positional",),
    "time_embedding_act_fn": (None,),
    "attention_type": ("default",),
    "dual_cross_attention": (False,),
}
"""Settings of a UNet2DConditionModel that other families use, and the values that are read."""
MOST_LAYERS = 256
LARGEST_SIZE = 4096
"""Of a latent's side."""
TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)


@dataclass(frozen=True)
class Encoding:
    """How prompts are encoded.

    length: tokens of a prompt, None for the pipeline's own. clean: PixArt's clean_caption, which rewrites prompts
    by rules of ftfy and bs4; it is never used unless asked for, whatever is installed. dtype: what the encoders
    compute in. stored: what the table holds. batch changes nothing but rounding.
    """

    length: int | None = None
    clean: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    stored: Literal["float32", "float16"] = "float16"
    batch: int = 16


DEFAULT = Encoding()


@dataclass(frozen=True)
class Facts:
    """A pipeline's folder, its configurations checked.

    latent_shape: (C, h, w) of a sample; image_shape: (3, H, W) of what it stands for. embeds_guidance: whether the
    network is told the guidance scale, so that one forward is a guided one. tokens: of a prompt.
    """

    folder: Path
    pipeline: str
    kind: Kind
    index: Mapping[str, Any]
    network: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    vae: Mapping[str, Any]
    latent_shape: tuple[int, int, int]
    image_shape: tuple[int, int, int]
    tokens: int

    @property
    def embeds_guidance(self) -> bool:
        return self.network.get("time_cond_proj_dim") is not None

    @property
    def prediction(self) -> str:
        return str(self.scheduler.get("prediction_type", "epsilon"))

    @property
    def network_part(self) -> str:
        return "transformer" if self.kind == "pixart" else "unet"

    @property
    def encoder_parts(self) -> tuple[str, ...]:
        return ("text_encoder", "text_encoder_2") if self.kind == "sdxl" else ("text_encoder",)

    @property
    def null_is_zeros(self) -> bool:
        """Whether no prompt is zeros, and not the encoding of an empty one."""
        return self.kind == "sdxl" and bool(self.index.get("force_zeros_for_empty_prompt", True))

    def network_files(self) -> list[Path]:
        return weights(self.folder / self.network_part, NETWORK)

    def codec_files(self) -> list[Path]:
        return weights(self.folder / "vae", NETWORK)

    def encoder_files(self) -> list[Path]:
        """Of the text encoders and tokenizers: all that determines what a prompt becomes."""
        found = list[Path]()
        for part in self.encoder_parts:
            folder = self.folder / part
            found += [folder / "config.json", *weights(folder, ENCODER)]
            tokenizer = self.folder / part.replace("text_encoder", "tokenizer")
            found += [file for name in TOKENIZER_FILES if (file := tokenizer / name).is_file()]
        return found

    def identity(self, encoding: Encoding = DEFAULT) -> str:
        """What a table of encoded prompts is of: encoders and tokenizers by their hash, length, cleaning, precision."""
        files = digest(self.encoder_files(), self.null_is_zeros)
        words = [self.kind, files[:16], f"{encoding.length or self.tokens} tokens"]
        if self.kind == "pixart":
            words.append("cleaned" if encoding.clean else "lower case")
        return " ".join([*words, f"{encoding.dtype} as {encoding.stored}"])


def read(folder: Path, resolution: int | None = None) -> Facts:
    """The facts of a folder. resolution: height and width of an image in pixels, None for the network's own.

    CheckpointError says in one line what is wrong with it. Nothing but JSON is opened.
    """
    index = configuration(folder / "model_index.json")
    kind = _checked(index)
    part = "transformer" if kind == "pixart" else "unet"
    network = _of_class(folder / part / "config.json", CLASSES[part])
    vae = _of_class(folder / "vae" / "config.json", CLASSES["vae"])
    _check_network(kind, network)
    scheduler = _of_class(folder / "scheduler" / "scheduler_config.json", SCHEDULERS)
    if scheduler["_class_name"] in ("LCMScheduler", "TCDScheduler"):
        scheduler = {**OWN_BETAS, **scheduler}
    if (said := scheduler.get("prediction_type", "epsilon")) not in PREDICTIONS:
        raise CheckpointError(f"prediction_type {said!r}: one of {', '.join(PREDICTIONS)}")
    latent, image = _shapes(network, vae, resolution)
    tokens = T5_TOKENS.get(index["_class_name"], CLIP_TOKENS)
    return Facts(folder, index["_class_name"], kind, index, network, scheduler, vae, latent, image, tokens)


def recognised(folder: Path) -> bool:
    """Whether the folder says that it is a text-to-image pipeline of those that are read."""
    try:
        return configuration(folder / "model_index.json").get("_class_name") in KINDS
    except (CheckpointError, TypeError):
        return False


def missing_packages(facts: Facts, encoding: Encoding | None = None) -> list[str]:
    """Packages that are not installed here: for the network, and to encode prompts where `encoding` is given."""
    needed = ["diffusers"]
    if encoding is not None:
        needed += ["transformers", *(["sentencepiece"] if facts.kind == "pixart" else [])]
        needed += ["ftfy", "bs4"] if encoding.clean else []
    return [name for name in needed if find_spec(name) is None]


def _checked(index: Mapping[str, Any]) -> Kind:
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in KINDS:
        raise CheckpointError(f"model_index.json: pipeline {name!r}; one of {', '.join(KINDS)} is read")
    kind = KINDS[name]
    parts = {key: value for key, value in index.items() if not key.startswith("_") and isinstance(value, list)}
    given = {key: value for key, value in parts.items() if value != [None, None]}
    for key, value in given.items():
        if value[:1] not in LIBRARIES or value[1:] not in [[known] for known in CLASSES.get(key, ())]:
            raise CheckpointError(f"model_index.json: {key} {value!r} is not a part of such a pipeline that is read")
    if lacking := [part for part in NEEDED[kind] if part not in given]:
        raise CheckpointError(f"model_index.json: no {lacking[0]}, which a {name} has")
    return kind


def _of_class(file: Path, names: tuple[str, ...]) -> dict[str, Any]:
    found = configuration(file)
    if found.get("_class_name") not in names:
        raise CheckpointError(f"{file}: {found.get('_class_name')!r} is not {' or '.join(names)}")
    return found


def _check_network(kind: Kind, network: Mapping[str, Any]) -> None:
    for key, allowed in UNUSUAL.items():
        if key in network and network[key] not in allowed:
            raise CheckpointError(f"config.json: {key} {network[key]!r}: only networks with {allowed[0]!r} are read")
    added = network.get("addition_embed_type")
    if added != ("text_time" if kind == "sdxl" else None):
        raise CheckpointError(f"config.json: addition_embed_type {added!r} in a pipeline of {kind}")
    counts = [network.get("layers_per_block", 2), network.get("num_layers", 1)]
    for count in (n for entry in counts for n in (entry if isinstance(entry, list) else [entry])):
        if not isinstance(count, int) or not 1 <= count <= MOST_LAYERS:
            raise CheckpointError(f"config.json: a network of {count!r} layers")
    blocks = network.get("block_out_channels", ())
    if not isinstance(blocks, list | tuple) or len(blocks) > MOST_LAYERS:
        raise CheckpointError(f"config.json: block_out_channels {str(blocks)[:40]} are no list of widths")


def _shapes(network: Mapping[str, Any], vae: Mapping[str, Any], resolution: int | None) -> tuple[Any, Any]:
    blocks, channels = vae.get("block_out_channels", (64,)), network.get("in_channels", 4)
    if not isinstance(blocks, list | tuple) or not 1 <= len(blocks) <= 8:
        raise CheckpointError(f"vae: block_out_channels {str(blocks)[:40]} are no list of widths")
    factor = 2 ** (len(blocks) - 1)
    if resolution is not None and (resolution < factor or resolution % factor):
        raise CheckpointError(f"resolution {resolution}: it must be a multiple of {factor} pixels")
    side = network.get("sample_size") if resolution is None else resolution // factor
    height, width = side if isinstance(side, list | tuple) and len(side) == 2 else (side, side)
    latent = (channels, height, width)
    if not all(isinstance(n, int) and 0 < n <= LARGEST_SIZE for n in latent):
        raise CheckpointError(
            f"config.json: sample_size {side!r} and in_channels {channels!r} give no shape of latents"
        )
    if vae.get("latent_channels", 4) != channels:
        said = f"{vae.get('latent_channels', 4)} channels, the network's {channels}"
        raise CheckpointError(f"the autoencoder's latents have {said}: no text-to-image network, or not of this folder")
    out = network.get("out_channels", 4)
    if (channels if out is None else out) not in (channels, 2 * channels):
        raise CheckpointError(f"config.json: {out} channels from {channels} are no prediction")
    return latent, (3, factor * height, factor * width)
