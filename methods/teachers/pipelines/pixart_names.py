"""PixArt's networks under their authors' names (chen2024pixart's code), as diffusers calls the same tensors."""

import re
from collections.abc import Mapping

from torch import Tensor

RENAMED = (
    (r"^x_embedder\.proj\.", "pos_embed.proj."),
    (r"^y_embedder\.y_proj\.fc([12])\.", r"caption_projection.linear_\1."),
    (r"^t_embedder\.mlp\.0\.", "adaln_single.emb.timestep_embedder.linear_1."),
    (r"^t_embedder\.mlp\.2\.", "adaln_single.emb.timestep_embedder.linear_2."),
    (r"^csize_embedder\.mlp\.0\.", "adaln_single.emb.resolution_embedder.linear_1."),
    (r"^csize_embedder\.mlp\.2\.", "adaln_single.emb.resolution_embedder.linear_2."),
    (r"^ar_embedder\.mlp\.0\.", "adaln_single.emb.aspect_ratio_embedder.linear_1."),
    (r"^ar_embedder\.mlp\.2\.", "adaln_single.emb.aspect_ratio_embedder.linear_2."),
    (r"^t_block\.1\.", "adaln_single.linear."),
    (r"^final_layer\.linear\.", "proj_out."),
    (r"^final_layer\.scale_shift_table$", "scale_shift_table"),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"transformer_blocks.\1.attn1.to_out.0."),
    (r"^blocks\.(\d+)\.cross_attn\.q_linear\.", r"transformer_blocks.\1.attn2.to_q."),
    (r"^blocks\.(\d+)\.cross_attn\.proj\.", r"transformer_blocks.\1.attn2.to_out.0."),
    (r"^blocks\.(\d+)\.mlp\.fc1\.", r"transformer_blocks.\1.ff.net.0.proj."),
    (r"^blocks\.(\d+)\.mlp\.fc2\.", r"transformer_blocks.\1.ff.net.2."),
    (r"^blocks\.(\d+)\.scale_shift_table$", r"transformer_blocks.\1.scale_shift_table"),
)
SPLIT = (
    (r"^blocks\.(\d+)\.attn\.qkv\.(\w+)$", r"transformer_blocks.\1.attn1.to_{0}.\2", "qkv"),
    (r"^blocks\.(\d+)\.cross_attn\.kv_linear\.(\w+)$", r"transformer_blocks.\1.attn2.to_{0}.\2", "kv"),
)
LEFT_OUT = ("pos_embed", "y_embedder.y_embedding")
"""Positions, which are computed, and the null prompt of training, which is the encoding of "" in the table."""


def recognised(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors have their authors' names."""
    return "x_embedder.proj.weight" in state and "t_block.1.weight" in state


def translated(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under diffusers' names, attention's joint matrices divided; an unknown name stays as it is."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in LEFT_OUT:
            continue
        for pattern, new, letters in SPLIT:
            if match := re.match(pattern, name):
                parts = tensor.chunk(len(letters))
                found |= {match.expand(new.format(letter)): part for letter, part in zip(letters, parts, strict=True)}
                break
        else:
            found[_renamed(name)] = tensor
    return found


def _renamed(name: str) -> str:
    for pattern, new in RENAMED:
        if re.match(pattern, name):
            return re.sub(pattern, new, name)
    return name
