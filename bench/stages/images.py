"""Images that were made anywhere, kept as they were read: the row goes on when they have moved."""

from pathlib import Path

from ...datasets.images import Images
from ...datasets.registry import ArchiveError
from ..errors import TaskError
from ..plan.kinds import ImagesParams, Sampled
from ..store import Artifact
from . import shards
from .context import Context
from .shards import Batch, Shards

IMAGES, PIXELS = "images", "x8"
BATCH = 256


def run(task: Context[ImagesParams]) -> Sampled:
    params = task.params
    try:
        found = Images(Path(params.source))
        if found.content() != params.content:
            raise TaskError(f"{params.source} has changed since this run was planned; run it again")

        def read(rows: range) -> Batch:
            return Batch({PIXELS: found[slice(rows.start, rows.stop)]})

        shards.write(task.folder, IMAGES, params.samples, found.shape, BATCH, read, task.on_progress)
    except ArchiveError as error:
        raise TaskError(str(error)) from None
    return Sampled(samples=params.samples)


def load(artifact: Artifact) -> Shards:
    """The images of an artifact, uint8 (N, C, H, W)."""
    return Shards(artifact, IMAGES, PIXELS, artifact.answer(Sampled).samples)
