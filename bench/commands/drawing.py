"""`fewstep sample`: a picture of one method's samples, from the artifacts of a finished run."""

import io
import math
from pathlib import Path
from typing import Any

from ...methods.specs.ground_truth import MEASURED
from ...reports.writing import write_atomic
from ..errors import InputError
from ..plan.kinds import PROMPTS, TEACHER, ImagesParams, SampleParams, TeacherParams
from ..results.lookup import Wanted, nearest_samples, store_of
from ..store import Artifact, Store


def write_picture(folder: Path, wanted: Wanted, count: int, root: Path | None, out: Path) -> None:
    """Write a PNG grid of `count` samples; noise i is that of sample i of the seed in the run."""
    from PIL import Image

    store = store_of(folder, root)
    x0 = _samples(nearest_samples(folder, wanted, store), store, wanted.nfe, count, wanted.seed)
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
    buffer = io.BytesIO()
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(buffer, format="PNG")
    write_atomic(out, buffer.getvalue())


def _samples(nearest: Artifact, store: Store, nfe: int, count: int, seed: int) -> Any:
    from ...methods import registry
    from ..stages import codec, sample, teacher, train

    if nearest.manifest["kind"] == ImagesParams.kind:
        raise InputError(f"they are images that were made elsewhere: see {nearest.asked(ImagesParams).source}")
    params, inputs = nearest.asked(SampleParams), nearest.manifest["inputs"]
    nfe = nfe if params.nfe != MEASURED else MEASURED
    spec = registry.method(params.method)
    refusal = spec.refusal(nfe, spec.options.model_validate(params.options))
    if refusal is None and spec.per_nfe and nfe != params.nfe:
        refusal = "it is trained per NFE, and the run has no cell with this one"
    if refusal:
        raise InputError(f"{params.method} at NFE {nfe}: {refusal}")
    made_of = {role: store.need(inputs[role]) for role in (TEACHER, PROMPTS) if role in inputs}
    parent = made_of[TEACHER]
    denoiser = teacher.load(made_of, params.guidance, params.labels)
    if "train" in inputs:
        method = train.load(store.need(inputs["train"]), denoiser, params.transfer)
    else:
        method = train.build(params.method, params.options, denoiser)
    shape = teacher.sample_shape(parent)
    x0 = sample.batches(count, sample.sampler(method.eval(), seed, nfe, shape), lambda share: None)
    if parent.asked(TeacherParams).teacher["name"] != "pipeline":
        return x0
    return codec.Decoder(codec.load(parent, "cpu")).pictures(x0)
