"""Small random text-to-image pipelines, saved as diffusers publishes them. Needs diffusers and transformers.

They have the parts, tokenizers, embeddings and conditions of the real ones, on few channels, and 0.5 MB each.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...known_pipelines import Folder, WeightsFile, folders
from .encoders import quiet
from .library import imported

# What it makes are files, whose hashes are part of tasks.
PART_OF_RESULTS = False

SIDE = 8
"""Of latents."""
SD_CHAIN: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CROSS: dict[str, Any] = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
LEVELS = 4
"""Of published autoencoders: a latent's pixel stands for 8 x 8 of the image."""
T5_WIDTH = 32
PIECES = ("a photo of a cat", "two dogs, on a bench", "the quick brown fox jumps over the lazy dog")
"""What the pieces of T5's tokenizer are learned from."""


def write(folder: Folder, target: Path) -> None:
    """A small pipeline in the place of a published folder."""
    guided: dict[str, Any] = {"time_cond_proj_dim": 8} if folder.told_guidance else {}
    with quiet():
        if folder.kind == "sd":
            sd(target, levels=LEVELS, **guided)
        elif folder.kind == "sdxl":
            sdxl(target, levels=LEVELS, **guided)
        else:
            pixart(target, levels=LEVELS)


def write_weights(file: WeightsFile, target: Path) -> None:
    """Other weights for the small pipeline in the place of the file's folder, in the form that its suffix says."""
    made = pixart_network(11, T5_WIDTH) if folders()[file.of].kind == "pixart" else sdxl_network(11)
    state = made.state_dict()
    if file.original:
        torch.save({"ema": {f"module.{name}": tensor for name, tensor in authors_names(state).items()}}, target)
    elif target.suffix == ".safetensors":
        save_file(state, target)
    else:
        torch.save(state, target)


def randomised(module: Any, seed: int, size: float = 0.05) -> Any:
    """The module with noise on all its weights, so that none starts at zero."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=g))
    return module.eval()


def clip_tokenizer(folder: Path, pad: str = "<|endoftext|>") -> tuple[Any, int]:
    """vocab.json and merges.txt, as published; transformers 5 writes neither."""
    folder.mkdir(parents=True)
    characters = [chr(code) for code in range(33, 127)]
    merges = [("a", "t</w>"), ("c", "at</w>"), ("o", "f</w>"), ("d", "o")]
    words = [*characters, *(c + "</w>" for c in characters), *(a + b for a, b in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    tokens = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    settings = {**tokens, "pad_token": pad, "model_max_length": 77, "do_lower_case": True}
    (folder / "special_tokens_map.json").write_text(json.dumps({**tokens, "pad_token": pad}), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "tokenizer_class": "CLIPTokenizer"}), encoding="utf-8"
    )
    return imported("transformers").CLIPTokenizer.from_pretrained(folder), len(words)


def t5_tokenizer(folder: Path) -> Any:
    """spiece.model of 48 pieces, as published."""
    folder.mkdir(parents=True)
    imported("sentencepiece").SentencePieceTrainer.train(
        sentence_iterator=iter(PIECES), model_prefix=str(folder / "spiece"), vocab_size=48, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    (folder / "spiece.vocab").unlink()
    settings = {
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "extra_ids": 0,
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "tokenizer_class": "T5Tokenizer"}), encoding="utf-8"
    )
    return imported("transformers").T5Tokenizer.from_pretrained(folder)


def clip(words: int, seed: int, width: int = 16, projection: int | None = None) -> Any:
    transformers = imported("transformers")
    config = transformers.CLIPTextConfig(
        vocab_size=words, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=projection or width, bos_token_id=words - 2, eos_token_id=words - 1,
        pad_token_id=words - 1,
    )  # fmt: skip
    cls = transformers.CLIPTextModel if projection is None else transformers.CLIPTextModelWithProjection
    return _made(cls, seed, config)


def vae(seed: int = 3, levels: int = 2, **options: Any) -> Any:
    blocks = {
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": (8,) * levels,
        "sample_size": SIDE * 2 ** (levels - 1),
    }
    cls = imported("diffusers").AutoencoderKL
    return _made(cls, seed, norm_num_groups=4, latent_channels=4, **blocks, **options)


def unet(seed: int, width: int, **options: Any) -> Any:
    settings = {
        "sample_size": SIDE, "in_channels": 4, "out_channels": 4, "block_out_channels": (8, 16), "layers_per_block": 1,
        "norm_num_groups": 4, "attention_head_dim": 2, "cross_attention_dim": width, **CROSS, **options,
    }  # fmt: skip
    return _made(imported("diffusers").UNet2DConditionModel, seed, **settings)


def pixart_network(seed: int, width: int, **options: Any) -> Any:
    settings = {
        "sample_size": SIDE, "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 8,
        "num_layers": 2, "cross_attention_dim": 24, "caption_channels": width, **options,
    }  # fmt: skip
    return _made(imported("diffusers").PixArtTransformer2DModel, seed, **settings)


def _made(cls: Any, seed: int, *arguments: Any, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return randomised(cls(*arguments, **options), seed)


def saved(pipeline: Any, folder: Path, tokenizers: Any = ()) -> Path:
    """Written without what it does not have, with the tokenizers' files as they were published."""
    pipeline.save_pretrained(folder)
    for name, source in tokenizers:
        shutil.rmtree(folder / name)
        shutil.move(source, folder / name)
    return folder


def _beside(folder: Path, name: str) -> Path:
    return folder.parent / f"{folder.name}-{name}"


def sd(folder: Path, prediction: str = "epsilon", scheduler: Any = None, levels: int = 2, **options: Any) -> Path:
    """A Stable Diffusion; with `time_cond_proj_dim` the pipeline of a latent consistency model."""
    diffusers = imported("diffusers")
    tokenizer, words = clip_tokenizer(_beside(folder, "tokenizer"))
    scheduler = scheduler or diffusers.DDIMScheduler(
        **SD_CHAIN, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type=prediction
    )
    network = unet(1, 16, **options)
    cls = diffusers.StableDiffusionPipeline
    given = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    if network.config.time_cond_proj_dim:
        cls = diffusers.LatentConsistencyModelPipeline
        scheduler = diffusers.LCMScheduler(clip_sample=False)
    pipeline = cls(
        vae=vae(levels=levels, scaling_factor=0.18215), text_encoder=clip(words, 2), tokenizer=tokenizer, unet=network,
        scheduler=scheduler, **given,
    )  # fmt: skip
    return saved(pipeline, folder, [("tokenizer", _beside(folder, "tokenizer"))])


NETWORK_OPTIONS = ("time_cond_proj_dim",)


def sdxl_network(seed: int, **options: Any) -> Any:
    return unet(
        seed, 16 + 24, addition_embed_type="text_time", addition_time_embed_dim=4, transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 4 + 12, use_linear_projection=True, attention_head_dim=(2, 4),
        **options,
    )  # fmt: skip


def sdxl(folder: Path, levels: int = 2, **options: Any) -> Path:
    diffusers = imported("diffusers")
    sources = [_beside(folder, "tokenizer"), _beside(folder, "tokenizer_2")]
    (first, words), (second, _) = clip_tokenizer(sources[0]), clip_tokenizer(sources[1], pad="!")
    network = sdxl_network(4, **{name: options.pop(name) for name in NETWORK_OPTIONS if name in options})
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=vae(5, levels, scaling_factor=0.13025), text_encoder=clip(words, 6),
        text_encoder_2=clip(words, 7, 24, 12), tokenizer=first, tokenizer_2=second, unet=network,
        add_watermarker=False, **options,
        scheduler=diffusers.EulerDiscreteScheduler(**SD_CHAIN, timestep_spacing="leading", steps_offset=1),
    )  # fmt: skip
    return saved(pipeline, folder, list(zip(("tokenizer", "tokenizer_2"), sources, strict=True)))


def pixart(folder: Path, cls: Any = None, levels: int = 2, **options: Any) -> Path:
    diffusers, transformers = imported("diffusers"), imported("transformers")
    tokenizer = t5_tokenizer(_beside(folder, "tokenizer"))
    config = transformers.T5Config(vocab_size=64, d_model=T5_WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    pipeline = (cls or diffusers.PixArtAlphaPipeline)(
        vae=vae(9, levels), text_encoder=_made(transformers.T5EncoderModel, 8, config), tokenizer=tokenizer,
        transformer=pixart_network(10, T5_WIDTH, **options),
        scheduler=diffusers.DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )  # fmt: skip
    return saved(pipeline, folder, [("tokenizer", _beside(folder, "tokenizer"))])


JOINED = {
    "attn1": ("attn", {"to_q": "qkv", "to_k": "qkv", "to_v": "qkv", "to_out.0": "proj"}),
    "attn2": ("cross_attn", {"to_q": "q_linear", "to_k": "kv_linear", "to_v": "kv_linear", "to_out.0": "proj"}),
}
THEIRS = {
    "pos_embed.proj.": "x_embedder.proj.", "caption_projection.linear_": "y_embedder.y_proj.fc",
    "adaln_single.emb.timestep_embedder.linear_1.": "t_embedder.mlp.0.",
    "adaln_single.emb.timestep_embedder.linear_2.": "t_embedder.mlp.2.",
    "adaln_single.emb.resolution_embedder.linear_1.": "csize_embedder.mlp.0.",
    "adaln_single.emb.resolution_embedder.linear_2.": "csize_embedder.mlp.2.",
    "adaln_single.emb.aspect_ratio_embedder.linear_1.": "ar_embedder.mlp.0.",
    "adaln_single.emb.aspect_ratio_embedder.linear_2.": "ar_embedder.mlp.2.",
    "adaln_single.linear.": "t_block.1.", "proj_out.": "final_layer.linear.",
    ".ff.net.0.proj.": ".mlp.fc1.", ".ff.net.2.": ".mlp.fc2.", "transformer_blocks.": "blocks.",
}  # fmt: skip


def authors_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network as PixArt's authors name it, attention's matrices joined."""
    joined: dict[str, list[Tensor]] = {}
    for name, tensor in state.items():
        new = "final_layer.scale_shift_table" if name == "scale_shift_table" else name
        for attention, (own, parts) in JOINED.items():
            for part, whole in parts.items():
                new = new.replace(f".{attention}.{part}.", f".{own}.{whole}.")
        for ours, own in THEIRS.items():
            new = new.replace(ours, own)
        joined.setdefault(new, []).append(tensor)
    return {name: torch.cat(parts) if len(parts) > 1 else parts[0] for name, parts in joined.items()}
