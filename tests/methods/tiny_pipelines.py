"""Tiny random text-to-image pipelines, saved as diffusers publishes them. Needs diffusers and transformers."""

import json
import shutil
import sys as sys

import pytest
import torch
from safetensors.torch import load_file as load_file
from safetensors.torch import save_file as save_file

from fewstep.methods.teachers.pipelines import building

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'fewstep[diffusers]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install 'fewstep[captions]'"
)

PROMPTS = ["a photo of a cat", "Two Dogs, on a bench", "", "a cat"]
SIDE = 8
"""Of latents; images are of 16 pixels."""
SD_CHAIN = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
CROSS = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}


def randomised(module, seed, size=0.05):
    """The module with noise on all its weights, so that none starts at zero."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=g))
    return module.eval()


def changed(file, **entries):
    """A configuration with other entries."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def clip_tokenizer(folder, pad="<|endoftext|>"):
    """vocab.json and merges.txt, as published; transformers 5 writes neither."""
    folder.mkdir(parents=True)
    characters = [chr(code) for code in range(33, 127)]
    merges = [("a", "t</w>"), ("c", "at</w>"), ("o", "f</w>"), ("d", "o")]
    words = [*characters, *(c + "</w>" for c in characters), *(a + b for a, b in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    tokens = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    settings = {**tokens, "pad_token": pad, "model_max_length": 77, "do_lower_case": True}
    (folder / "special_tokens_map.json").write_text(json.dumps({**tokens, "pad_token": pad}))
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "CLIPTokenizer"}))
    return transformers.CLIPTokenizer.from_pretrained(folder), len(words)


def t5_tokenizer(folder):
    """spiece.model of 64 pieces, as published."""
    sentencepiece = pytest.importorskip("sentencepiece", reason="T5's tokenizer needs sentencepiece")
    folder.mkdir(parents=True)
    sentences = ["a photo of a cat", "two dogs, on a bench", "the quick brown fox jumps over the lazy dog"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(folder / "spiece"), vocab_size=48, hard_vocab_limit=False,
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
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": "T5Tokenizer"}))
    return transformers.T5Tokenizer.from_pretrained(folder)


def clip(words, seed, width=16, projection=None):
    config = transformers.CLIPTextConfig(
        vocab_size=words, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=3, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=projection or width, bos_token_id=words - 2, eos_token_id=words - 1,
        pad_token_id=words - 1,
    )  # fmt: skip
    cls = transformers.CLIPTextModel if projection is None else transformers.CLIPTextModelWithProjection
    torch.manual_seed(seed)
    return randomised(cls(config), seed)


def vae(seed=3, **options):
    torch.manual_seed(seed)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    found = diffusers.AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=16, **blocks, **options
    )
    return randomised(found, seed)


def unet(seed, width, **options):
    torch.manual_seed(seed)
    settings = {
        "sample_size": SIDE, "in_channels": 4, "out_channels": 4, "block_out_channels": (8, 16), "layers_per_block": 1,
        "norm_num_groups": 4, "attention_head_dim": 2, "cross_attention_dim": width, **CROSS, **options,
    }  # fmt: skip
    return randomised(diffusers.UNet2DConditionModel(**settings), seed)


def pixart_network(seed, width, **options):
    torch.manual_seed(seed)
    settings = {
        "sample_size": SIDE, "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 8,
        "num_layers": 2, "cross_attention_dim": 24, "caption_channels": width, **options,
    }  # fmt: skip
    return randomised(diffusers.PixArtTransformer2DModel(**settings), seed)


def saved(pipeline, folder, tokenizers=()):
    """Written without what it does not have, with the tokenizers' files as they were published."""
    pipeline.save_pretrained(folder)
    for name, source in tokenizers:
        shutil.rmtree(folder / name)
        shutil.copytree(source, folder / name)
    return folder


def sd(folder, prediction="epsilon", scheduler=None, **options):
    tokenizer, words = clip_tokenizer(folder.parent / f"{folder.name}-tokenizer")
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
        vae=vae(scaling_factor=0.18215), text_encoder=clip(words, 2), tokenizer=tokenizer, unet=network,
        scheduler=scheduler, **given,
    )  # fmt: skip
    return saved(pipeline, folder, [("tokenizer", folder.parent / f"{folder.name}-tokenizer")])


def sdxl(folder, **options):
    sources = [folder.parent / f"{folder.name}-tokenizer", folder.parent / f"{folder.name}-tokenizer_2"]
    (first, words), (second, _) = clip_tokenizer(sources[0]), clip_tokenizer(sources[1], pad="!")
    network = unet(
        4, 16 + 24, addition_embed_type="text_time", addition_time_embed_dim=4, transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 4 + 12, use_linear_projection=True, attention_head_dim=(2, 4),
    )  # fmt: skip
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=vae(5, scaling_factor=0.13025), text_encoder=clip(words, 6), text_encoder_2=clip(words, 7, 24, 12),
        tokenizer=first, tokenizer_2=second, unet=network, add_watermarker=False, **options,
        scheduler=diffusers.EulerDiscreteScheduler(**SD_CHAIN, timestep_spacing="leading", steps_offset=1),
    )  # fmt: skip
    return saved(pipeline, folder, list(zip(("tokenizer", "tokenizer_2"), sources, strict=True)))


def pixart(folder, cls=None, **options):
    source = folder.parent / f"{folder.name}-tokenizer"
    tokenizer = t5_tokenizer(source)
    torch.manual_seed(8)
    encoder = transformers.T5EncoderModel(
        transformers.T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    )
    pipeline = (cls or diffusers.PixArtAlphaPipeline)(
        vae=vae(9), text_encoder=randomised(encoder, 8), tokenizer=tokenizer,
        transformer=pixart_network(10, 32, **options),
        scheduler=diffusers.DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )  # fmt: skip
    return saved(pipeline, folder, [("tokenizer", source)])


def built(pipeline):
    """Its network, without a table of prompts."""
    return building.build(*pipeline.checkpoint())
