"""What a rehearsal measures with: random features, and files in the form of published weights and statistics."""

import json
from pathlib import Path
from pickle import dumps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....methods.teachers.pipelines.encoders import quiet
from .network import FeatureNetwork
from .statistics import DIMENSIONS

# A task names the hash of each file that it reads.
PART_OF_RESULTS = False

IMAGES = 64
"""What statistics are made of, and how many images lie in a file that has some."""


LOGITS = 1008
SIDE, CELLS = 64, 16
"""Pixels that an image is resized to, and means of them that are projected."""


class Projection(FeatureNetwork):
    """The features of Inception or DINOv2 by name, each a random projection of the image's coarse pixels."""

    def __init__(self, resize: str) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.resize = resize
        sizes = {**DIMENSIONS, "logits": LOGITS}
        weights = {name: torch.randn(3 * CELLS**2, size, generator=rng) / CELLS for name, size in sizes.items()}
        self.weights = nn.ParameterDict(weights)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        pixels = self.pixels(images, self.resize, SIDE) / 127.5 - 1
        means = functional.adaptive_avg_pool2d(pixels, CELLS).flatten(1)
        return {name: means @ weight for name, weight in self.weights.items()}


def lpips(vgg: Path, weights: Path) -> None:
    """VGG-16's state dict (its unused classifier without storage) and LPIPS's list of five."""
    from torchvision.models import vgg16

    rng = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg16().state_dict().items()}
    state = {
        name: torch.randn(shape, generator=rng) * (2 / shape[1:].numel()) ** 0.5
        if name.startswith("features")
        else torch.zeros(1).expand(shape)
        for name, shape in shapes.items()
    }
    torch.save(state, vgg)
    torch.save([torch.rand(1, width, 1, 1, generator=rng) for width in (64, 128, 256, 512, 512)], weights)


EDM2 = "fid"
"""Under which EDM2's pickles keep the moments."""


def statistics(file: Path) -> None:
    """Moments of random features, as the file's name says: EDM2's pickle, ADM's with images, or a mean and covariance
    alone.
    """
    rng = np.random.default_rng(0)
    mu, sigma = _moments(rng, DIMENSIONS["pool"])
    if file.suffix == ".pkl":
        file.write_bytes(dumps({EDM2: {"mu": mu, "sigma": sigma}}, protocol=2))
        return
    arrays = {"mu": mu, "sigma": sigma}
    if file.stem.startswith("VIRTUAL"):
        arrays["mu_s"], arrays["sigma_s"] = _moments(rng, DIMENSIONS["spatial"])
        arrays["arr_0"] = rng.integers(0, 256, (IMAGES, 64, 64, 3), dtype=np.uint8)
    with file.open("wb") as opened:
        np.savez(opened, allow_pickle=False, **arrays)


def _moments(rng: np.random.Generator, dimensions: int) -> tuple[Any, Any]:
    features = rng.standard_normal((IMAGES, dimensions))
    # Of full rank, as those of whole data sets are.
    return features.mean(0), np.cov(features, rowvar=False) + 1e-2 * np.eye(dimensions)


TINY = "fewstep-tiny-quickgelu"
"""A configuration of open_clip's form; OpenAI's weights need QuickGELU."""
CLIP_WIDTH, WORDS = 32, 49408
LAYERS, TEXT_WIDTH, VISION_WIDTH = 2, 32, 128
"""Of the networks below, where nothing else is said."""
SMALL = 0.02
"""Size of what the vision transformer's first norm sees, so that its epsilon is seen too."""


def know_tiny(folder: Path) -> None:
    """Make open_clip know the configuration TINY, which is written into the folder."""
    import open_clip

    if TINY not in open_clip.list_models():
        vision = {"image_size": 32, "layers": LAYERS, "width": 64, "patch_size": 8}
        text = {"context_length": 77, "vocab_size": WORDS, "width": CLIP_WIDTH, "heads": 4, "layers": LAYERS}
        config = {"embed_dim": CLIP_WIDTH, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{TINY}.json").write_text(json.dumps(config), encoding="utf-8")
        open_clip.add_model_config(folder)


def clip(file: Path, configurations: Path) -> None:
    """Weights of TINY as open_clip's safetensors, or as HPSv2's file of torch.save."""
    import open_clip
    from safetensors.torch import save_file

    know_tiny(configurations)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = open_clip.CLIP(**open_clip.get_model_config(TINY)).state_dict()
    if file.suffix == ".safetensors":
        save_file(state, file)
    else:
        torch.save({"state_dict": state}, file)


def aesthetic_head(file: Path) -> None:
    """LAION's five linear layers, on the embedding of TINY."""
    rng = torch.Generator().manual_seed(0)
    torch.save(_head("layers", CLIP_WIDTH, rng), file)


def _head(name: str, width: int, rng: torch.Generator) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for layer, after in zip((0, 2, 4, 6, 7), (1024, 128, 64, 16, 1), strict=True):
        found |= _linear(f"{name}.{layer}", width, after, rng)
        width = after
    return found


def _linear(name: str, before: int, after: int, rng: torch.Generator) -> dict[str, Tensor]:
    weight = torch.randn(after, before, generator=rng) / before**0.5
    return {f"{name}.weight": weight, f"{name}.bias": 0.1 * torch.randn(after, generator=rng)}


def pickscore(weights: Path, config: Path) -> None:
    """A CLIPModel as transformers saves it."""
    from transformers import CLIPConfig, CLIPModel

    text = {"vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS}
    vision = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "intermediate_size": 64}
    own = CLIPConfig(
        text_config={**text, "num_attention_heads": 4, "bos_token_id": WORDS - 2, "eos_token_id": WORDS - 1},
        vision_config={**vision, "num_hidden_layers": LAYERS, "num_attention_heads": 4},
        projection_dim=CLIP_WIDTH,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CLIPModel(own)
    with quiet():
        network.save_pretrained(weights.parent)
    (weights.parent / "config.json").replace(config)
    (weights.parent / "model.safetensors").replace(weights)


def imagereward(weights: Path, config: Path, vocabulary: Path) -> None:
    """ImageReward's state dict by its names, BLIP's configuration of the text encoder, BERT's vocabulary."""
    rng = torch.Generator().manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789,.", "##s"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrtuvwxyz0123456789"]
    words += ["a", "photo", "of", "the", "two", "cat", "dog", "on", "bench", "picture"][1:]
    vocabulary.write_text("\n".join(words) + "\n", encoding="utf-8")
    settings = {"hidden_size": TEXT_WIDTH, "intermediate_size": 64, "num_hidden_layers": LAYERS}
    settings |= {"num_attention_heads": 4, "vocab_size": len(words) + 2, "max_position_embeddings": 64}
    config.write_text(
        json.dumps({**settings, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2}), encoding="utf-8"
    )
    state = _blip_vision("blip.visual_encoder", rng) | _blip_text("blip.text_encoder", len(words) + 2, rng)
    state |= _linear("blip.vision_proj", VISION_WIDTH, 16, rng) | _linear("blip.text_proj", TEXT_WIDTH, 16, rng)
    torch.save(state | _head("mlp.layers", TEXT_WIDTH, rng), weights)


def _norm(name: str, width: int, rng: torch.Generator) -> dict[str, Tensor]:
    draws = 0.1 * torch.randn(2, width, generator=rng)
    return {f"{name}.weight": 1 + draws[0], f"{name}.bias": draws[1]}


def _blip_vision(name: str, rng: torch.Generator, patch: int = 16) -> dict[str, Tensor]:
    width = VISION_WIDTH
    state = {
        f"{name}.cls_token": SMALL * torch.randn(1, 1, width, generator=rng),
        f"{name}.pos_embed": SMALL * torch.randn(1, 5, width, generator=rng),
        f"{name}.patch_embed.proj.weight": SMALL * torch.randn(width, 3, patch, patch, generator=rng) / patch,
        f"{name}.patch_embed.proj.bias": torch.zeros(width),
        **_norm(f"{name}.norm", width, rng),
    }
    for k in range(LAYERS):
        block = f"{name}.blocks.{k}"
        state |= _norm(f"{block}.norm1", width, rng) | _norm(f"{block}.norm2", width, rng)
        state |= _linear(f"{block}.attn.qkv", width, 3 * width, rng) | _linear(f"{block}.attn.proj", width, width, rng)
        state |= _linear(f"{block}.mlp.fc1", width, 64, rng) | _linear(f"{block}.mlp.fc2", 64, width, rng)
    return state


def _blip_text(name: str, words: int, rng: torch.Generator) -> dict[str, Tensor]:
    width = TEXT_WIDTH
    state = {
        f"{name}.embeddings.word_embeddings.weight": torch.randn(words, width, generator=rng),
        f"{name}.embeddings.position_embeddings.weight": torch.randn(64, width, generator=rng),
        f"{name}.embeddings.position_ids": torch.arange(64)[None],
        **_norm(f"{name}.embeddings.LayerNorm", width, rng),
    }
    for k in range(LAYERS):
        block = f"{name}.encoder.layer.{k}"
        for part, read in (("attention", width), ("crossattention", VISION_WIDTH)):
            state |= _linear(f"{block}.{part}.self.query", width, width, rng)
            state |= _linear(f"{block}.{part}.self.key", read, width, rng)
            state |= _linear(f"{block}.{part}.self.value", read, width, rng)
            state |= _linear(f"{block}.{part}.output.dense", width, width, rng)
            state |= _norm(f"{block}.{part}.output.LayerNorm", width, rng)
        state |= _linear(f"{block}.intermediate.dense", width, 64, rng)
        state |= _linear(f"{block}.output.dense", 64, width, rng) | _norm(f"{block}.output.LayerNorm", width, rng)
    return state
