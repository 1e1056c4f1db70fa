"""What every feature network does alike: grey images, float32 arithmetic, no gradients."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .resize import RESIZERS, as_rgb


class FeatureNetwork(nn.Module, ABC):
    """images uint8 (B, 1 or 3, H, W), wherever they lie -> {name: float32 (B, D)} on the network's device.

    A row depends on its own image alone. ValueError for other images.
    """

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        with full_precision(self.device):
            return self.features(as_rgb(images))

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def pixels(self, images: Tensor, resize: str, side: int) -> Tensor:
        """Grey levels (B, 3, side, side) of about 0 to 255. Resized where the images lie: Pillow knows only the CPU."""
        return RESIZERS[resize](images, side).to(self.device)

    @abstractmethod
    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Of uint8 images (B, 3, H, W)."""


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """float32 without autocast and without TF32, whatever the training around it uses."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.no_grad(),
            torch.autocast(device.type, enabled=False),
            torch.backends.cudnn.flags(
                enabled=True, deterministic=torch.backends.cudnn.deterministic, allow_tf32=False
            ),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def normalised(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Grey levels (B, 3, H, W) of 0 to 255, scaled to [0, 1] and then by the training set's mean and deviation."""
    shape = (1, -1, 1, 1)
    return (pixels / 255 - pixels.new_tensor(mean).view(shape)) / pixels.new_tensor(std).view(shape)
