"""Images per second from the archive, beside torchvision's ImageFolder on the same images.

    python -m fewstep.bench.benchmarks.reading_speed [--images N] [--repeats N] [--sides 32 64 256]

One process and one thread, batches of 64 random rows as uint8 (B, C, H, W), files in the page cache, both sides in
turn: the median of several runs. "map" is the memory map that images up to 64 pixels are laid down in, "zip" decodes
the archive's PNGs when they are asked for. ImageFolder reads the PNGs that the archive holds, and JPEGs of quality 95.
"""

import argparse
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from ...datasets import archive
from ...datasets.facts import MAPPED
from ...datasets.writing import Record, write

BATCH = 64


def pictures(count: int, side: int) -> np.ndarray:
    """Smooth colours with some noise, uint8 (N, side, side, 3): PNG makes about as little of them as of photographs."""
    rng = np.random.default_rng(side)
    found = np.empty((count, side, side, 3), np.uint8)
    for image in found:
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)).astype(float)
        image[:] = (smooth + 4 * rng.standard_normal(smooth.shape)).clip(0, 255)
    return found


def sources(folder: Path, images: np.ndarray) -> dict[str, Callable[[Tensor], Tensor]]:
    """name -> rows to images uint8 (B, C, H, W)."""
    path = folder / "pictures.zip"
    records = (Record(str(i), lambda image=image: image, None) for i, image in enumerate(images))
    write(path, records, {"source": "benchmark"})
    with zipfile.ZipFile(path) as packed:
        packed.extractall(folder / "png", [name for name in packed.namelist() if name.endswith(".png")])
    (folder / "jpeg" / "class").mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "jpeg" / "class" / f"{i:08d}.jpg", quality=95)
    png, jpeg = (ImageFolder(str(folder / kind), pil_to_tensor) for kind in ("png", "jpeg"))
    found: dict[str, Callable[[Tensor], Tensor]] = {
        "zip": archive.zipped(path).__getitem__,
        "ImageFolder, PNG": lambda rows: torch.stack([png[i][0] for i in rows.tolist()]),
        "ImageFolder, JPEG": lambda rows: torch.stack([jpeg[i][0] for i in rows.tolist()]),
    }
    if images.shape[1] <= MAPPED:
        mapped = archive.load("pictures", path, 0).images
        return {"map": lambda rows: mapped[rows], **found}
    return found


def rate(read: Callable[[Tensor], Tensor], order: Tensor) -> float:
    """Images per second over one pass in the given order."""
    started = time.perf_counter()
    for rows in order.split(BATCH):
        read(rows)
    return len(order) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description="Images per second from the archive")
    parser.add_argument("--images", type=int, default=4000, help="at 64 pixels; fewer of larger ones")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 64, 256])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':<8}{'map':>12}{'zip':>12}{'ImageFolder, PNG':>20}{'ImageFolder, JPEG':>20}   zip / PNG")
    for side in arguments.sides:
        images = pictures(min(arguments.images, arguments.images * 64**2 // side**2), side)
        folder = Path(tempfile.mkdtemp())
        try:
            found = sources(folder, images)
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
            expected = torch.from_numpy(images[order[:BATCH].numpy()].transpose(0, 3, 1, 2).copy())
            assert all(torch.equal(read(order[:BATCH]), expected) for name, read in found.items() if "JPEG" not in name)
            rates: dict[str, list[float]] = {name: [] for name in found}
            for _ in range(arguments.repeats):
                for name, read in found.items():
                    rates[name].append(rate(read, order))
        finally:
            shutil.rmtree(folder)
        median = {name: statistics.median(values) for name, values in rates.items()}
        cells = [f"{median[name]:,.0f}" if name in median else "" for name in ("map", "zip", *list(found)[-2:])]
        print(
            f"{side}x{side:<5}{cells[0]:>11}{cells[1]:>12}{cells[2]:>20}{cells[3]:>20}"
            f"{median['zip'] / median['ImageFolder, PNG']:12.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
