"""The pixels of an image file, whole, or one line on what is wrong with it."""

import io
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image, UnidentifiedImageError

from .facts import ArchiveError

Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]

WARNINGS = threading.Lock()
"""What becomes of a warning is a setting of the whole process."""

PHOTOGRAPHS = ("RGB", "L", "CMYK", "YCbCr", "P", "RGBA", "LA")
"""Modes of 8 bits, in which photographs are found among those that are RGB."""


READ = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""The forms that Pillow decodes by itself; of EPS, for one, it would run a program."""


def decode(name: str, data: bytes, size: tuple[int, int] | None = None, modes: tuple[str, ...] = ("RGB",)) -> Pixels:
    """The pixels (H, W, C) of an image file. ArchiveError unless it is whole, of that (width, height) and of a mode."""
    with _by_name(name):
        image = _open(data)
        if size is not None and image.size != size:
            raise ArchiveError(f"{image.width}x{image.height} pixels, not {size[0]}x{size[1]}")
        _check_mode(image, modes)
        pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def photograph(name: str, data: bytes, convention: Callable[[Image.Image], Pixels]) -> Pixels:
    """The pixels that `convention` makes of an image file as RGB. ArchiveError unless it is whole and of 8 bits."""
    with _by_name(name):
        image = _open(data)
        _check_mode(image, PHOTOGRAPHS)
        return convention(image.convert("RGB"))


def _open(data: bytes) -> Image.Image:
    with WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data), formats=_known())
    # Cameras put a preview beside the photograph, which comes first, and call that MPO.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise ArchiveError(f"{getattr(image, 'n_frames', 0)} images in one file, not one still image")
    return image


@cache
def _known() -> tuple[str, ...]:
    Image.init()
    return tuple(form for form in READ if form in Image.OPEN)


def _check_mode(image: Image.Image, modes: tuple[str, ...]) -> None:
    if image.mode not in modes:
        raise ArchiveError(f"mode {image.mode}, not {' or '.join(modes)}")


@contextmanager
def _by_name(name: str) -> Iterator[None]:
    """What is wrong with an image, as one line that begins with its name."""
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(f"{name}: {error}") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ArchiveError(f"{name}: {error}") from None
    except UnidentifiedImageError:
        raise ArchiveError(f"{name}: not a whole image: of no form that Pillow knows") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ArchiveError(f"{name}: not a whole image: {error}") from None
