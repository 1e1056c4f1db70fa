"""Small pictures, and the archive that a source becomes."""

import io

import numpy as np
import pytest
from PIL import Image

from fewstep import datasets
from fewstep.datasets.prepare import prepare
from fewstep.tests.datasets.packing import GOOD


@pytest.fixture(scope="session")
def picture():
    """picture(seed, width, height, mode) -> smooth colours and noise, as Pillow has them."""

    def make(seed, width=32, height=None, mode="RGB"):
        rng = np.random.default_rng(seed)
        height = height or width
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
        noisy = smooth + rng.integers(-20, 21, smooth.shape)
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert(mode)

    return make


@pytest.fixture(scope="session")
def encoded():
    """encoded(image, format) -> the bytes of an image file."""

    def encode(image, style="PNG"):
        buffer = io.BytesIO()
        image.save(buffer, format=style, **({"quality": 75} if style in ("JPEG", "WEBP") else {}))
        return buffer.getvalue()

    return encode


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """prepared(name, source) -> (the data set, the facts of its archives), read back from the archive."""

    def make(name, source):
        written = prepare(name, source, tmp_path / "data", lambda file, count: None, threads=3)
        monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path / "data"))
        return datasets.get(name), [facts for _, facts in written]

    return make


@pytest.fixture
def good(picture, encoded):
    return {f"a/{i}.png": encoded(picture(i, 64)) for i in range(GOOD)}
