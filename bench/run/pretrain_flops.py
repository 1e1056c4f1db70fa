"""The FLOPs of a network that a suite trains, before it is made. No torch."""

import math
from collections.abc import Sequence

from ...methods.specs.teachers.pretrain import MLPOptions, UNetOptions

SINES = 32
"""What the embedding of the noise level starts from."""


def evaluation_flops(network: UNetOptions | MLPOptions, shape: Sequence[int]) -> float:
    """Of one forward on one sample of `shape`, (C, H, W) or (D,), as a meter counts them: products and sums of
    convolutions and matrix products.
    """
    products = _of_unet(network, shape) if isinstance(network, UNetOptions) else _of_mlp(network, math.prod(shape))
    return 2.0 * products


def _of_mlp(network: MLPOptions, dimension: int) -> int:
    w = network.width
    return _embedding(w) + 2 * dimension * w + network.blocks * 4 * w * w


def _of_unet(network: UNetOptions, shape: Sequence[int]) -> int:
    """The layers in the order in which they are applied; `skips` are the channels that wait for the way up."""
    image, height, width = shape
    widths = [network.channels * m for m in network.multipliers]
    pixels = [height * width // 4**level for level in range(len(widths))]

    def block(c_in: int, c_out: int, level: int) -> int:
        convolutions = 9 * c_in * c_out + 9 * c_out * c_out + (c_in * c_out if c_in != c_out else 0)
        return pixels[level] * convolutions + network.embedding * c_out

    c = widths[0]
    total, skips = _embedding(network.embedding) + pixels[0] * 9 * image * c, [c]
    for level, w in enumerate(widths):
        for _ in range(network.blocks):
            total += block(c, w, level)
            c = w
            skips.append(c)
        if level + 1 < len(widths):
            skips.append(c)
    total += 2 * block(c, c, len(widths) - 1)
    for level, w in reversed(list(enumerate(widths))):
        for _ in range(network.blocks + 1):
            total += block(c + skips.pop(), w, level)
            c = w
    return total + pixels[0] * 9 * c * image


def _embedding(width: int) -> int:
    return SINES * width + width * width
