"""CLIP embeddings and what is read off them: CMMD, CLIP score, HPSv2, the aesthetic score. Through open_clip alone."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .network import FeatureNetwork, full_precision, normalised

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""OpenAI's, kept by every model here."""


class Clip(FeatureNetwork):
    """Gives "image" (B, D), embeddings of length 1, and scores of images with captions: 100 * cosine.

    model is open_clip's configuration. One whose weights were trained with QuickGELU must say so: open_clip builds
    plain GELU under the plain names and loads OpenAI's weights without a word, whence other numbers.
    """

    def __init__(self, weights: Path, model: str, resize: str, prefix: str = "") -> None:
        super().__init__()
        import open_clip

        self.network = open_clip.create_model(model, pretrained=str(weights), weights_only=True)
        self.tokenise = open_clip.get_tokenizer(model)
        size = self.network.visual.image_size
        self.side: int = size if isinstance(size, int) else size[0]
        self.resize, self.prefix = resize, prefix

    def features(self, images: Tensor) -> dict[str, Tensor]:
        pixels = self.pixels(square(images), self.resize, self.side)
        return {"image": functional.normalize(self.network.encode_image(normalised(pixels, MEAN, STD)), dim=-1)}

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Embeddings (B, D) of length 1 of the captions with the prefix before each."""
        tokens = self.tokenise([self.prefix + caption for caption in captions]).to(self.device)
        with full_precision(self.device):
            return functional.normalize(self.network.encode_text(tokens), dim=-1)

    def score(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """100 * cosine (B,) of each image with its own caption; ValueError unless there are as many of both.

        In float32, where HPSv2's own code runs under autocast.
        """
        paired(images, captions)
        return 100 * (self(images)["image"] * self.texts(captions)).sum(-1)


class Aesthetic(Clip):
    """Gives "aesthetic" (B, 1), LAION's improved predictor, about 1 to 10, besides "image".

    Five linear layers without activations on the embedding of length 1 (improved-aesthetic-predictor, MLP).
    """

    WIDTHS = (1024, 128, 64, 16, 1)

    def __init__(self, weights: Path, head: Path, model: str, resize: str) -> None:
        super().__init__(weights, model, resize)
        state = torch.load(head, map_location="cpu", weights_only=True)
        layers: list[nn.Module] = []
        width = state["layers.0.weight"].shape[1]
        for following in self.WIDTHS:
            layers.append(nn.Linear(width, following))
            width = following
        # Their numbers in the file count the dropouts between the first four.
        self.layers = nn.ModuleDict(dict(zip(("0", "2", "4", "6", "7"), layers, strict=True)))
        self.layers.load_state_dict({name.removeprefix("layers."): value for name, value in state.items()})

    def features(self, images: Tensor) -> dict[str, Tensor]:
        embedded = super().features(images)
        x = embedded["image"]
        for layer in self.layers.values():
            x = layer(x)
        return {**embedded, "aesthetic": x}


def square(images: Tensor) -> Tensor:
    """The images themselves; ValueError unless they are square, since CLIP's models would crop or squash them."""
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"CLIP's features are taken from square images, not {tuple(images.shape[-2:])}: crop first")
    return images


def paired(images: Tensor, captions: Sequence[str]) -> None:
    """ValueError unless there are as many captions as images."""
    if len(images) != len(captions):
        raise ValueError(f"{len(images)} images have {len(captions)} captions: each image needs its own")
