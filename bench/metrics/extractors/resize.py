"""How images reach a network's side: every way is a mode of its own, because FID moves with it (Parmar et al. 2022).

A resizer maps uint8 images (B, 3, H, W) to float32 grey levels (B, 3, side, side) of about 0 to 255.
"""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


def as_rgb(images: Tensor) -> Tensor:
    """uint8 images (B, 1 or 3, H, W) as (B, 3, H, W), grey repeated; ValueError for anything else."""
    if images.dtype != torch.uint8:
        raise ValueError(f"features are taken from uint8 images, not {images.dtype}: quantise samples first")
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"features are taken from images (B, 1 or 3, H, W), not {tuple(images.shape)}")
    return images.expand(-1, 3, -1, -1)


def tf1(images: Tensor, side: int) -> Tensor:
    """TensorFlow 1's resize_bilinear, part of the reference graph: source = target * in / out, no half-pixel shift.

    In the order of operations of torch-fidelity's copy, so that both agree bit for bit.
    """
    x = images.float()
    top, bottom, down = _tf1_taps(x.shape[2], side, x.device)
    left, right, across = _tf1_taps(x.shape[3], side, x.device)
    x = x[..., left] + (x[..., right] - x[..., left]) * across
    return x[..., top, :] + (x[..., bottom, :] - x[..., top, :]) * down[:, None]


def _tf1_taps(length: int, side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Each target pixel's two source pixels, and the second one's weight."""
    source = torch.arange(side, dtype=torch.float32, device=device) * torch.tensor(length / side, dtype=torch.float32)
    low = source.long()
    return low, (low + 1).clamp(max=length - 1), source - low


def legacy_pytorch(images: Tensor, side: int) -> Tensor:
    """pytorch-fid's: bilinear, half-pixel centres, no antialiasing."""
    return functional.interpolate(images.float(), size=(side, side), mode="bilinear", align_corners=False)


def torch_bicubic(images: Tensor, side: int) -> Tensor:
    """CMMD's: bicubic, half-pixel centres, no antialiasing; overshoots beyond 0 and 255 stay."""
    return functional.interpolate(images.float(), size=(side, side), mode="bicubic", align_corners=False)


def clean(images: Tensor, side: int) -> Tensor:
    """clean-fid's own: Pillow's bicubic per channel in float32, antialiased, clipped, not rounded to grey levels."""
    from cleanfid.resize import make_resizer

    return _each(images, make_resizer("PIL", False, "bicubic", (side, side)))


def pil_bicubic_uint8(images: Tensor, side: int) -> Tensor:
    """Pillow's bicubic on uint8 images, antialiased and rounded to grey levels: dgm-eval's, and CLIP's own."""
    return _each(images, lambda x: np.asarray(Image.fromarray(x).resize((side, side), Image.Resampling.BICUBIC)))


def lanczos(images: Tensor, height: int, width: int) -> Tensor:
    """uint8 images (B, C, H, W) by Pillow's Lanczos, antialiased: how pictures are made as small as the real ones that
    they are compared with (DMD2's evaluation).
    """
    size, channels = (width, height), images.flatten(0, 1).cpu().numpy()
    resized = [np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.LANCZOS)) for channel in channels]
    return torch.from_numpy(np.stack(resized)).unflatten(0, images.shape[:2])


def _each(images: Tensor, resize: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """A resizer of one image (H, W, 3), on the CPU, over a batch."""
    resized = np.stack([resize(image) for image in images.permute(0, 2, 3, 1).cpu().numpy()])
    return torch.from_numpy(resized).permute(0, 3, 1, 2).float().contiguous().to(images.device)


RESIZERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "tf1": tf1,
    "legacy-pytorch": legacy_pytorch,
    "clean": clean,
    "torch-bicubic": torch_bicubic,
    "pil-bicubic-uint8": pil_bicubic_uint8,
}
"""By the name that protocols carry."""
