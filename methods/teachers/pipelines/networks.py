"""Networks that are told captions by rows of a table: UNet2DConditionModel and PixArtTransformer2DModel.

Both are called (x, label, condition). x: (B, C, h, w); label: (B,) float32, whatever the network's dtype; condition:
(B,) int64, rows of `table`, None for the null prompt. `embedding` stands for embed(label, condition) where it is given:
the forward passes below are the library's own from there on.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ...denoiser import Condition
from ...prompts import Encoded, PromptTable
from .library import residual_blocks

GUIDANCE_SCALE = 1000.0
"""w - 1 is multiplied by it before its sines, as labels are large numbers too."""
MASKED = -10000.0
"""Added to the attention to a token that does not count, as in diffusers."""


class Captioned(nn.Module):
    """`table` is shared by copies and no part of the state; `size` is (H, W) of an image in pixels."""

    def __init__(self, config: dict[str, Any], size: tuple[int, int], table: PromptTable | None = None) -> None:
        super().__init__()
        self.config, self.size, self.table = config, size, table

    def rows(self, condition: Condition, count: int, device: torch.device) -> Encoded:
        """The table's rows of a batch. ValueError without a table."""
        if self.table is None:
            raise ValueError("this network has no table of prompts yet: set its `table`")
        if condition is None:
            condition = self.table.nulls(count, device)
        return self.table.at(condition)


class TextUNet(Captioned):
    """eps, v or x0 of a UNet2DConditionModel (rombach2022high, arXiv:2112.10752), with the pooled prompts and sizes of
    SDXL (podell2024sdxl, arXiv:2307.01952) where it knows them.

    guidance: the scale w that a network with `time_cond_proj_dim` is told (luo2023latent, arXiv:2310.04378, section
    4.2; number unchecked).
    """

    def __init__(
        self,
        unet: Any,
        config: dict[str, Any],
        size: tuple[int, int],
        table: PromptTable | None = None,
        guidance: float | None = None,
    ) -> None:
        super().__init__(config, size, table)
        self.unet, self.guidance = unet, guidance
        self.guidance_width = int(config.get("time_cond_proj_dim") or 0)

    def embed(self, label: Tensor, condition: Condition = None) -> Tensor:
        """The network's embedding of the label, of w and of SDXL's pooled prompt and sizes: (B, E)."""
        pooled = getattr(self.unet, "add_embedding", None) is not None
        return self._embedded(label, self.rows(condition, len(label), label.device) if pooled else Encoded())

    def forward(self, x: Tensor, label: Tensor, condition: Condition = None, embedding: Tensor | None = None) -> Tensor:
        text = self.rows(condition, len(x), x.device)
        assert text.tokens is not None
        return self._torso(x, self._embedded(label, text) if embedding is None else embedding, text.tokens.to(x.dtype))

    def _embedded(self, label: Tensor, text: Encoded) -> Tensor:
        unet = self.unet
        dtype = unet.time_embedding.linear_1.weight.dtype
        embedding: Tensor = unet.time_embedding(unet.time_proj(label).to(dtype), self._told_guidance(label, dtype))
        if text.pooled is None or getattr(unet, "add_embedding", None) is None:
            return embedding
        # Original size, upper left corner of the crop, target size.
        sizes = torch.tensor([*self.size, 0, 0, *self.size], dtype=torch.float32).to(label.device, non_blocking=True)
        sines = unet.add_time_proj(sizes).flatten().expand(len(text.pooled), -1)
        added: Tensor = unet.add_embedding(torch.cat([text.pooled.to(dtype), sines.to(dtype)], dim=1))
        return embedding + added

    def _told_guidance(self, label: Tensor, dtype: torch.dtype) -> Tensor | None:
        if not self.guidance_width:
            return None
        if self.guidance is None:
            raise ValueError("this network is told the guidance scale: set its `guidance`")
        return (
            guidance_sines(self.guidance, self.guidance_width)
            .to(label.device, dtype, non_blocking=True)
            .expand(len(label), -1)
        )

    def _torso(self, x: Tensor, embedding: Tensor, text: Tensor) -> Tensor:
        """What UNet2DConditionModel.forward does once it has the embedding."""
        unet = self.unet
        h = unet.conv_in(2 * x - 1 if unet.config.center_input_sample else x)
        skips = [h]
        for block in unet.down_blocks:
            h, own = block(hidden_states=h, temb=embedding, **_text(block, text))
            skips += own
        if unet.mid_block is not None:
            h = unet.mid_block(h, embedding, **_text(unet.mid_block, text))
        for block in unet.up_blocks:
            count = len(block.resnets)
            own, skips = tuple(skips[-count:]), skips[:-count]
            # Sides that do not halve evenly are met again on the way up.
            side = skips[-1].shape[2:] if skips else None
            h = block(
                hidden_states=h, temb=embedding, res_hidden_states_tuple=own, upsample_size=side, **_text(block, text)
            )
        if unet.conv_norm_out is not None:
            h = unet.conv_act(unet.conv_norm_out(h))
        output: Tensor = unet.conv_out(h)
        return output

    def residual_blocks(self) -> list[tuple[nn.Module, int]]:
        """Of the way down, the first in the middle, of the way up, with their attention; and the channels of each."""
        return residual_blocks(self.unet)


def _text(block: Any, text: Tensor) -> dict[str, Tensor]:
    return {"encoder_hidden_states": text} if getattr(block, "has_cross_attention", False) else {}


def guidance_sines(w: float, width: int) -> Tensor:
    """(1, width): sines, then cosines of 1000 (w - 1) at frequencies exp(-k ln 10000/(width/2 - 1)), as LCM's code."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / (half - 1)))
    angles = torch.tensor(w - 1, dtype=torch.float32) * GUIDANCE_SCALE * frequencies
    sines = torch.cat([angles.sin(), angles.cos()])
    return nn.functional.pad(sines, (0, width - 2 * half))[None]


class PixArt(Captioned):
    """eps of a PixArtTransformer2DModel, and a variance where it learned one (chen2024pixart, arXiv:2310.00426)."""

    def __init__(
        self, transformer: Any, config: dict[str, Any], size: tuple[int, int], table: PromptTable | None = None
    ) -> None:
        super().__init__(config, size, table)
        self.transformer = transformer

    def embed(self, label: Tensor, condition: Condition = None) -> Tensor:
        """The network's embedding of the label, and of size and aspect ratio where it knows them: (B, D)."""
        embedder, count = self.transformer.adaln_single.emb, len(label)
        dtype = embedder.timestep_embedder.linear_1.weight.dtype
        sizes: tuple[Tensor | None, Tensor | None] = (None, None)
        if embedder.use_additional_conditions:
            height, width = self.size
            both = torch.tensor([[height, width, height / width]], device=label.device).expand(count, -1)
            sizes = both[:, :2], both[:, 2:]
        embedding: Tensor = embedder(label, *sizes, batch_size=count, hidden_dtype=dtype)
        return embedding

    def forward(self, x: Tensor, label: Tensor, condition: Condition = None, embedding: Tensor | None = None) -> Tensor:
        text = self.rows(condition, len(x), x.device)
        assert text.tokens is not None
        return self._torso(x, self.embed(label) if embedding is None else embedding, text)

    def _torso(self, x: Tensor, embedding: Tensor, text: Encoded) -> Tensor:
        """What PixArtTransformer2DModel.forward does once it has the embedding."""
        net, patch = self.transformer, self.transformer.config.patch_size
        embedding = embedding.expand(len(x), -1)
        modulation = net.adaln_single.linear(net.adaln_single.silu(embedding))
        tokens = text.tokens.to(x.dtype)  # type: ignore[union-attr]
        if net.caption_projection is not None:
            tokens = net.caption_projection(tokens)
        mask = None if text.mask is None else ((~text.mask).to(x.dtype) * MASKED)[:, None]
        h = net.pos_embed(x)
        for block in net.transformer_blocks:
            h = block(h, encoder_hidden_states=tokens, encoder_attention_mask=mask, timestep=modulation)
        shift, scale = (net.scale_shift_table[None] + embedding[:, None]).chunk(2, dim=1)
        h = net.proj_out(net.norm_out(h) * (1 + scale) + shift)
        rows, columns = (side // patch for side in x.shape[-2:])
        h = h.unflatten(-1, (patch, patch, -1)).unflatten(1, (rows, columns))
        return torch.einsum("nhwpqc->nchpwq", h).flatten(4, 5).flatten(2, 3)
