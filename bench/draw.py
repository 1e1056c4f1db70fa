"""`fewstep sample`: a picture of one method's samples, from the artifacts of a finished run."""

import csv
import math
from pathlib import Path
from typing import Any

from .errors import InputError
from .store import CorruptError, Store


def draw(folder: Path, method: str, nfe: int, count: int, seed: int, root: Path | None, out: Path) -> None:
    """Write a PNG grid of `count` samples; noise i is that of sample i of `seed` in the run."""
    from PIL import Image

    store = Store(
        root or next((p for p in (folder / "store", folder.parent / "store") if p.is_dir()), folder / "store")
    )
    sample = _sample_manifest(folder, method, nfe, seed, store)
    x0 = _samples(sample, store, nfe, count, seed)
    if x0.ndim != 4:
        raise InputError(f"samples of shape {tuple(x0.shape[1:])} are not images")
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    channels, height, width = (x0.shape[1], x0.shape[2] + 1, x0.shape[3] + 1)
    # One grey line and column between pictures, between the black and the white of a digit.
    padded = x0.new_full((rows * columns, channels, height, width), -0.2)
    padded[:count, :, :-1, :-1] = x0
    grid = padded.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    pixels = (grid.reshape(rows * height, columns * width, channels) * 127.5 + 128).clamp(0, 255).byte().numpy()
    scale = max(1, 512 // (columns * width))
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    out.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(out, format="PNG")


def _sample_manifest(folder: Path, method: str, nfe: int, seed: int, store: Store) -> dict[str, Any]:
    """The manifest of the nearest cell's samples (NFE first, then seed): it names the teacher and the training."""
    with (folder / "results.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    rows = [row for row in table if row["method"] == method and row["status"] == "done"]
    if not rows:
        known = ", ".join(dict.fromkeys(row["method"] for row in table))
        raise InputError(f"{folder}: no finished cell of method {method!r}; the run has {known}")
    nearest = max(rows, key=lambda row: (row["nfe"] == str(nfe), row["seed"] == str(seed)))
    try:
        score = store.need(f"score-{nearest['cell']}")
        return store.need(score.manifest["inputs"]["sample"]).manifest
    except CorruptError as error:
        raise InputError(f"{error}; run the suite again, or name its store with --store") from None


def _samples(manifest: dict[str, Any], store: Store, nfe: int, count: int, seed: int) -> Any:
    from ..methods import registry
    from ..methods.randomness import noise
    from .stages import sample, teacher, train

    params = manifest["params"]
    spec = registry.method(params["method"])
    refusal = spec.refusal(nfe, spec.options.model_validate(params["options"]))
    if refusal is None and spec.per_nfe and nfe != params["nfe"]:
        refusal = "it is trained per NFE, and the run has no cell with this one"
    if refusal:
        raise InputError(f"{params['method']} at NFE {nfe}: {refusal}")
    try:
        parent = store.need(manifest["inputs"]["teacher"])
        denoiser = teacher.load(parent)
        if "train" in manifest["inputs"]:
            method = train.load(store.need(manifest["inputs"]["train"]), denoiser)
        else:
            method = train.build(params["method"], params["options"], denoiser)
    except CorruptError as error:
        raise InputError(f"{error}; run the suite again, or name its store with --store") from None
    shape, rows = teacher.sample_shape(parent), range(count)
    start = sample.start_noise(seed, rows, shape)
    return method.eval().sample(start, nfe, draws=lambda j: noise(seed, f"draw-{j}", rows, shape))
