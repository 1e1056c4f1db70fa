"""Samples of an entry as one small picture inside the page."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

MOST_BYTES = 1_000_000
"""Of the pictures of a page, as PNG."""
LEAST, MOST = 2, 12
"""Samples of a strip."""
GREY = 110


@dataclass(frozen=True)
class Strip:
    """uri: data:image/png, empty where `like` names the place that shows the same picture."""

    uri: str
    alt: str
    width: int
    height: int
    like: str = ""


@dataclass
class Strips:
    """The pictures of a page, each shown once. pictures: name -> uint8 (n, C, H, W)."""

    pictures: Mapping[str, np.ndarray]
    shown: dict[bytes, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bytes_each = max((array[0].size for array in self.pictures.values() if len(array)), default=1)
        self.count = max(LEAST, min(MOST, MOST_BYTES // max(1, bytes_each * len(self.pictures))))

    def of(self, name: str, place: str, title: str) -> Strip | None:
        """The first samples of `name` in a row, for `place` of the page; None where there are none."""
        images = self.pictures.get(name)
        if images is None or images.ndim != 4 or not len(images) or images.shape[1] not in (1, 3):
            return None
        framed = [np.pad(image, ((0, 0), (0, 0), (0, 1)), constant_values=GREY) for image in images[: self.count]]
        row = np.concatenate(framed, axis=2)[..., :-1]
        png, scale = _png(row), max(1, round(40 / images.shape[2]))
        first = self.shown.setdefault(png, place)
        uri = "" if first != place else f"data:image/png;base64,{base64.b64encode(png).decode()}"
        alt = f"{min(self.count, len(images))} samples, {title}"
        return Strip(uri, alt, scale * row.shape[2], scale * row.shape[1], "" if first == place else first)


def _png(image: np.ndarray) -> bytes:
    """uint8 (C, H, W) as a PNG file."""
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
