"""The features of a data set's own images by one extractor: moments of all of them, rows of some."""

from typing import Any

import torch
from safetensors.torch import load_file, save_file

from ...datasets.base import ImageSet
from ...methods.randomness import generator
from ..extractors import EXTRACTORS
from ..measuring import SUBSET, Reference, extract
from ..metrics.moments import Moments
from ..store import Artifact
from .context import Context
from .data import load as load_data
from .device import accelerator

MOMENTS, ROWS = "moments.safetensors", "rows.safetensors"
ARRAYS = ("pool", "spatial", "cls", "image")


def run(task: Context) -> dict[str, Any]:
    data = load_data(task.params)
    assert isinstance(data, ImageSet)
    network = EXTRACTORS[task.params["extractor"]].load(accelerator(task.params["device"]))
    order = torch.randperm(len(data), generator=generator(0, f"{data.name}-reference"))
    kept = torch.zeros(len(data), dtype=torch.bool)
    kept[order[:SUBSET]] = True
    moments: dict[str, Moments] = {}
    rows: dict[str, list[torch.Tensor]] = {}
    for indices, found in extract(network, data.images.__getitem__, len(data), ARRAYS):
        for name, features in found.items():
            moments.setdefault(name, Moments(len(data), features.shape[1], blocks=1)).update(features, indices)
            rows.setdefault(name, []).append(features[kept[indices]])
        task.on_progress((int(indices[-1]) + 1) / len(data))
    blocks = {name: collected.compute() for name, collected in moments.items()}
    save_file(
        {
            f"{name}/{part}": getattr(block, part).contiguous()
            for name, block in blocks.items()
            for part in ("mean", "cov")
        },
        task.folder / MOMENTS,
    )
    save_file({name: torch.cat(parts) for name, parts in rows.items()}, task.folder / ROWS)
    return {"images": len(data), "rows": int(kept.sum())}


def load(artifact: Artifact) -> Reference:
    """The reference that the artifact holds."""
    arrays, params, result = load_file(artifact.file(MOMENTS)), artifact.manifest["params"], artifact.result
    digits = params["content"][:8] if "content" in params else artifact.manifest["files"][MOMENTS]["sha256"][:8]
    name = params["dataset"]
    return Reference(
        f"{name}-{result['images']}@{digits}",
        {key.removesuffix("/mean"): (arrays[key], arrays[f"{key.removesuffix('/mean')}/cov"])
         for key in arrays if key.endswith("/mean")},
        f"{name}-{result['rows']}of{result['images']}@{digits}",
        load_file(artifact.file(ROWS)),
    )  # fmt: skip
