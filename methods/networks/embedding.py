"""What the small backbones share: the embedding of the noise level and label, and layers that start at zero."""

import copy
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)


def zero(layer: Layer) -> Layer:
    """The layer with its weights set to 0: a block that starts as the identity, also when it is drawn anew."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    layer.__dict__["starts_at_zero"] = True
    return layer


class Frequencies(nn.Module):
    """A layer whose buffer, called `kept`, stays in float32 at least: half precision turns sines by radians."""

    kept = "frequencies"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Frequencies":
        before: Tensor = getattr(self, self.kept)
        super()._apply(fn, recurse)
        after: Tensor = getattr(self, self.kept)
        if after.dtype.itemsize < 4:
            setattr(self, self.kept, before.to(after.device, torch.float32))
        return self


class NoiseEmbedding(Frequencies):
    """Sines and cosines of c_noise (B,) at geometric frequencies, then two layers: (B, width).

    With `classes`, a learned row is added for each label (B,) int64. Row `classes` is the null label of
    classifier-free guidance, which None stands for.
    """

    frequencies: Tensor

    def __init__(self, width: int, classes: int = 0, frequencies: int = 16, max_frequency: float = 32.0) -> None:
        super().__init__()
        self.register_buffer(
            "frequencies",
            torch.exp(torch.linspace(0.0, math.log(max_frequency), frequencies)),
            persistent=False,
        )
        self.layers = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.labels = nn.Embedding(classes + 1, width) if classes else None
        self.classes = classes

    def forward(self, c_noise: Tensor, labels: Tensor | None = None) -> Tensor:
        angles = c_noise[:, None] * self.frequencies
        sines = torch.cat([angles.cos(), angles.sin()], dim=1)
        embedding = self.layers(sines.to(next(self.layers.parameters()).dtype))
        if self.labels is None:
            return embedding
        if labels is None:
            labels = torch.full_like(c_noise, self.classes, dtype=torch.int64)
        return embedding + self.labels(labels)


def embed_of(network: nn.Module) -> Callable[..., Tensor]:
    """The network's embedding of time and label. ValueError for a network that keeps none apart."""
    embed: Any = getattr(network, "embed", None)
    if not callable(embed):
        kind = type(network).__name__
        raise ValueError(f"boot adds the target time to the noise embedding `embed`, which {kind} does not have")
    return cast(Callable[..., Tensor], embed)


def embedding_alone(network: nn.Module, time: Tensor) -> nn.Module:
    """A copy of the network of which no more is left than `network.embed` uses, on times like `time` (B,)."""
    alone: Any = copy.deepcopy(network)
    used = set[nn.Module]()
    hooks = [module.register_forward_hook(lambda module, *_: used.add(module)) for module in alone.modules()]
    with torch.no_grad():
        embed_of(alone)(time)
    for hook in hooks:
        hook.remove()
    for parent in list(alone.modules()):
        for name, child in parent.named_children():
            if used.isdisjoint(child.modules()):
                setattr(parent, name, None)
    return cast(nn.Module, alone)
