"""How the papers crop and resize: the convention is part of what a data set is, and they differ.

Each function takes an RGB image of any size and returns side x side pixels, uint8 (side, side, 3).
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from .decoding import Pixels
from .facts import ArchiveError

Convention = Callable[[Image.Image, int], Pixels]

BOX, BILINEAR = Image.Resampling.BOX, Image.Resampling.BILINEAR
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def adm_box_bicubic(image: Image.Image, side: int) -> Pixels:
    """Halved by box while the short side is at least twice `side`, then bicubic, then the centre.

    ADM, Dhariwal & Nichol 2021 (guided-diffusion's center_crop_arr); EDM2's center-crop-dhariwal.
    """
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), BOX)
    return _centre(_short_side(image, side, BICUBIC), side)


def edm_lanczos(image: Image.Image, side: int) -> Pixels:
    """The central square, then Lanczos: EDM's dataset_tool.py --transform=center-crop, Karras et al. 2022."""
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    return np.asarray(image.crop((left, top, left + short, top + short)).resize((side, side), LANCZOS))


def lsun_box(image: Image.Image, side: int) -> Pixels:
    """Box to a short side of `side`, then the centre: guided-diffusion's LSUN scripts."""
    return _centre(_short_side(image, side, BOX), side)


def squash_box(image: Image.Image, side: int) -> Pixels:
    """The whole image by box, its aspect ratio lost: the downsampled ImageNet of Chrabaszcz et al. 2017."""
    return np.asarray(image.resize((side, side), BOX))


def lanczos(image: Image.Image, side: int) -> Pixels:
    """Lanczos without a crop, for what is square: EDM's dataset_tool.py without --transform."""
    if image.width != image.height:
        raise ArchiveError(f"{image.width}x{image.height} pixels, which is not square")
    return np.asarray(image.resize((side, side), LANCZOS))


def celeba_ddim(image: Image.Image, side: int) -> Pixels:
    """Of CelebA's aligned 178x218 rows 57 to 185 and columns 25 to 153, then bilinear: DDIM's data set, Song et al.
    2021.
    """
    if image.size != (178, 218):
        raise ArchiveError(f"{image.width}x{image.height} pixels, not 178x218, as img_align_celeba has them")
    return np.asarray(image.crop((25, 57, 153, 185)).resize((side, side), BILINEAR))


CONVENTIONS: dict[str, Convention] = {
    "adm-box-bicubic": adm_box_bicubic,
    "edm-lanczos": edm_lanczos,
    "lsun-box": lsun_box,
    "squash-box": squash_box,
    "lanczos": lanczos,
    "celeba-ddim": celeba_ddim,
}


def _short_side(image: Image.Image, side: int, filter: Image.Resampling) -> Image.Image:
    scale = side / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    # A strip of 1 x 60,000 pixels passes Pillow's limit and grows beyond any memory here.
    if width * height > (Image.MAX_IMAGE_PIXELS or 2**26):
        raise ArchiveError(f"{image.width}x{image.height} pixels, {width}x{height} with a short side of {side}")
    return image.resize((width, height), filter)


def _centre(image: Image.Image, side: int) -> Pixels:
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))
