"""ImageReward (Xu et al. 2023, arXiv:2304.05977): BLIP's image-grounded text encoder and five linear layers.

The caption's first token, after it has looked at all patches of the image, is scored. BLIP (Li et al. 2022,
arXiv:2201.12086) is transformers', with the tensors of the published file under its names.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .clip import MEAN, STD, paired, square
from .network import FeatureNetwork, full_precision, normalised
from .resize import as_rgb

REWARD_MEAN, REWARD_STD = 0.16717362830052426, 1.0333394966054072
"""Of the rewards of the authors' training images, as their code has them."""
TOKENS = 35
"""To which a caption is padded or cut."""
HEAD = 64
"""Channels of each of the vision transformer's attention heads."""
RENAMED = (
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^norm\.", "post_layernorm."),
    (r"^blocks\.(\d+)\.norm([12])\.", r"encoder.layers.\1.layer_norm\2."),
    (r"^blocks\.(\d+)\.attn\.qkv\.", r"encoder.layers.\1.self_attn.qkv."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.projection."),
    (r"^blocks\.(\d+)\.mlp\.", r"encoder.layers.\1.mlp."),
)
"""The vision transformer's tensors, as the file and as transformers calls them."""
UNUSED = re.compile(r"^blip\.(vision_proj|text_proj)\.|\.position_ids$")
"""Tensors of BLIP's other tasks, and a buffer."""
SETTINGS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "hidden_act",
    "layer_norm_eps",
)
"""Of med_config.json, what makes the text encoder."""
WIDTHS = (1024, 128, 64, 16, 1)
LAYERS = ("0", "2", "4", "6", "7")
"""Numbers of the linear layers in the file, which counts the dropouts between the first four."""


class ImageReward(FeatureNetwork):
    """Gives scores of images with captions, about -2 to 2, and "image" (B, D), the vision transformer's first token.

    weights: the published state dict. config: med_config.json. vocabulary: BERT's vocab.txt, in a folder that has no
    other tokenizer. RuntimeError for another network's file.
    """

    def __init__(self, weights: Path, config: Path, vocabulary: Path, resize: str) -> None:
        super().__init__()
        from transformers import BertTokenizer

        state = torch.load(weights, map_location="cpu", weights_only=True)
        own = {name: tensor.float() for name, tensor in state.items() if not UNUSED.search(name)}
        vision = {_renamed(name): tensor for name, tensor in _below(own, "blip.visual_encoder.").items()}
        self.vision = _vision(vision)
        self.text = _text(json.loads(config.read_text(encoding="utf-8")), self.vision.config.hidden_size)
        self.text.load_state_dict(_below(own, "blip.text_encoder."))
        self.mlp = nn.ModuleDict()
        for name, before, after in zip(LAYERS, (self.text.config.hidden_size, *WIDTHS), WIDTHS, strict=False):
            self.mlp[name] = nn.Linear(before, after)
        self.mlp.load_state_dict(_below(own, "mlp.layers."))
        self.tokenise: Any = BertTokenizer.from_pretrained(vocabulary.parent, local_files_only=True)
        self.side: int = self.vision.config.image_size
        self.resize = resize

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return {"image": self._seen(images)[:, 0]}

    def score(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """(mlp(first token) - mean)/std (B,) of each image with its own caption; ValueError for unequal numbers."""
        paired(images, captions)
        with full_precision(self.device):
            seen = self._seen(as_rgb(images))
            told = self.tokenise(
                list(captions), padding="max_length", truncation=True, max_length=TOKENS, return_tensors="pt"
            ).to(self.device)
            found = self.text(
                input_ids=told.input_ids,
                attention_mask=told.attention_mask,
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=self.device),
            )
            x = found.last_hidden_state[:, 0]
            for layer in self.mlp.values():
                x = layer(x)
            return (x[:, 0] - REWARD_MEAN) / REWARD_STD

    def _seen(self, images: Tensor) -> Tensor:
        """(B, 1 + patches, D)."""
        pixels = normalised(self.pixels(square(images), self.resize, self.side), MEAN, STD)
        found: Tensor = self.vision(pixel_values=pixels).last_hidden_state
        return found


def _vision(state: Mapping[str, Tensor]) -> Any:
    """BLIP's vision transformer, of the sizes that its tensors have."""
    from transformers import BlipVisionConfig, BlipVisionModel

    try:
        width, _, patch, _ = state["embeddings.patch_embedding.weight"].shape
        positions = state["embeddings.position_embedding"].shape[1] - 1
        inner = state["encoder.layers.0.mlp.fc1.weight"].shape[0]
    except KeyError as error:
        raise RuntimeError(f"not ImageReward's file: no tensor {error}") from None
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.layers.")}
    network = BlipVisionModel(
        BlipVisionConfig(
            hidden_size=width,
            intermediate_size=inner,
            num_hidden_layers=len(layers),
            num_attention_heads=width // HEAD,
            image_size=patch * round(positions**0.5),
            patch_size=patch,
            hidden_act="gelu",
            # transformers' default is 1e-5.
            layer_norm_eps=1e-6,
        )
    )
    network.load_state_dict(dict(state))
    return network


def _text(settings: Mapping[str, Any], width: int) -> Any:
    """BERT that looks at `width` numbers of each patch, after every attention to itself."""
    from transformers import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextModel

    own = {name: settings[name] for name in SETTINGS if name in settings}
    # No text is generated.
    generated = {"bos_token_id": None, "sep_token_id": None, "eos_token_id": None}
    config = BlipTextConfig(**own, **generated, encoder_hidden_size=width, is_decoder=True)
    return BlipTextModel(config, add_pooling_layer=False)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _renamed(name: str) -> str:
    for pattern, new in RENAMED:
        if re.match(pattern, name):
            return re.sub(pattern, new, name)
    return name
