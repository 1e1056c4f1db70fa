"""The features of real images by one extractor: moments of all of them, rows of some."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...datasets.archive import ArchivedSet
from ...datasets.base import ImageSet
from ...datasets.images import Images
from ...datasets.registry import ArchiveError
from ...methods.randomness import generator
from .. import published_files
from ..errors import TaskError
from ..metrics.extractors import EXTRACTORS
from ..metrics.moments import Moments
from ..metrics.scoring import SUBSET, Reference, extract
from ..plan.kinds import ReferenceParams, ReferenceResult
from ..store import Artifact
from .context import Context
from .data import load as load_data
from .device import accelerator

MOMENTS, ROWS = "moments.safetensors", "rows.safetensors"
ARRAYS = ("pool", "spatial", "cls", "image")


def run(task: Context[ReferenceParams]) -> ReferenceResult:
    images, count = _images(task.params)
    network = EXTRACTORS[task.params.extractor].load(accelerator(task.params.device))
    order = torch.randperm(count, generator=generator(0, "reference"))
    kept = torch.zeros(count, dtype=torch.bool)
    kept[order[:SUBSET]] = True
    moments: dict[str, Moments] = {}
    rows: dict[str, Tensor] = {}
    place = kept.cumsum(0) - 1
    for indices, found in extract(network, images, count, ARRAYS):
        for name, features in found.items():
            moments.setdefault(name, Moments(count, features.shape[1], blocks=1)).update(features, indices)
            if name not in rows:
                rows[name] = features.new_empty(int(kept.sum()), features.shape[1])
            rows[name][place[indices[kept[indices]]]] = features[kept[indices]]
        task.on_progress((int(indices[-1]) + 1) / count)
    blocks = {name: collected.compute() for name, collected in moments.items()}
    save_file(
        {
            f"{name}/{part}": getattr(block, part).contiguous()
            for name, block in blocks.items()
            for part in ("mean", "cov")
        },
        task.folder / MOMENTS,
    )
    save_file(rows, task.folder / ROWS)
    return ReferenceResult(images=count, rows=int(kept.sum()))


def _images(params: ReferenceParams) -> tuple[Callable[[slice], Tensor], int]:
    """(images(slice) uint8 (B, C, H, W), how many) of a data set, or of a folder or file of images."""
    if params.images is None:
        assert params.dataset is not None
        data = load_data(params.dataset, params.content)
        assert isinstance(data, ImageSet | ArchivedSet)
        return data.images.__getitem__, len(data)
    try:
        found = Images(published_files.located(params.images) or Path(params.images))
        if found.content() != params.content:
            raise TaskError(f"{found.source} has changed since this was asked; ask again")
    except ArchiveError as error:
        raise TaskError(str(error)) from None
    return found.__getitem__, len(found)


def load(artifact: Artifact) -> Reference:
    """The reference that the artifact holds."""
    arrays, params = load_file(artifact.file(MOMENTS)), artifact.asked(ReferenceParams)
    result = artifact.answer(ReferenceResult)
    digits = (params.content or artifact.manifest["files"][MOMENTS]["sha256"])[:8]
    name = params.dataset or Path(params.images or "").stem
    arrays_of = [key.removesuffix("/mean") for key in arrays if key.endswith("/mean")]
    return Reference(
        f"{name}-{result.images}@{digits}",
        {key: (arrays[f"{key}/mean"], arrays[f"{key}/cov"]) for key in arrays_of},
        f"{name}-{result.rows}of{result.images}@{digits}",
        load_file(artifact.file(ROWS)),
    )
