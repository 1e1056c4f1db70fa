"""The record of a training run: an append-only JSONL file and a few pictures. W&B is its mirror."""

import contextlib
import io
import json
import logging
import netrc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...reports.writing import write_atomic

# A record is written for people and read by nobody's computation.
PART_OF_RESULTS = False

log = logging.getLogger(__name__)

EVENTS, SAMPLES = "events.jsonl", "previews"
PREVIEWS = 10
"""Pictures of samples that a run keeps, evenly over its budget, the first and the last step among them."""
PIXELS = 64
"""The least height of a sample in a picture."""
SERVERS = ("api.wandb.ai", "api.forge.coreweave.com")
"""W&B's default servers: until and since version 0.31."""


Preview = Callable[[], np.ndarray]


class Tracker(Protocol):
    def log(self, row: dict[str, Any]) -> None:
        """Enter one row; `step` tells which."""
        ...

    def look(self, step: int, share: float) -> None:
        """Called between two steps, after those that have a row, at this share of the budget; 1 after the last."""
        ...


class NoTracker:
    """For runs whose record nobody reads, such as tests."""

    def log(self, row: dict[str, Any]) -> None:
        pass

    def look(self, step: int, share: float) -> None:
        pass


class Record:
    """Rows appended to events.jsonl, each flushed; a resumed run may repeat steps, and the last row counts.

    preview: a few samples of what is trained, uint8 (n, C, H, W), kept as pictures at PREVIEWS shares of the budget.
    """

    def __init__(self, folder: Path, preview: Preview | None = None) -> None:
        self._file = (folder / EVENTS).open("a", encoding="utf-8")
        self._folder, self._preview = folder / SAMPLES, preview

    def log(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def look(self, step: int, share: float) -> None:
        if self._preview is None:
            return
        mark = int(min(share, 1.0) * (PREVIEWS - 1))
        if any(self._folder.glob(f"{mark}-*.png")):
            return
        try:
            _save_png(self._preview(), self._folder / f"{mark}-{step}.png")
        except Exception as error:  # a student that cannot sample yet, a full disk: training needs no pictures
            log.info("no samples at step %d: %s", step, error)

    def close(self) -> None:
        self._file.close()


def side_by_side(images: np.ndarray) -> np.ndarray:
    """One picture, uint8 (H, n W, C), of images uint8 (n, C, H, W); small ones are enlarged to PIXELS or more."""
    row = np.concatenate(list(images.transpose(0, 2, 3, 1)), axis=1)
    scale = -(-PIXELS // images.shape[2])
    return row.repeat(scale, axis=0).repeat(scale, axis=1)


def _save_png(images: np.ndarray, path: Path) -> None:
    """Images uint8 (n, C, H, W) side by side."""
    from PIL import Image

    row, buffer = side_by_side(images), io.BytesIO()
    Image.fromarray(row.squeeze(-1) if row.shape[-1] == 1 else row).save(buffer, "png")
    write_atomic(path, buffer.getvalue())


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run in order of step, each step once; a row cut off by a kill, or of another form, is left out."""
    rows: dict[int, dict[str, Any]] = {}
    for line in (folder / EVENTS).read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int:
                rows[row["step"]] = row
    return [rows[step] for step in sorted(rows)]


def read_previews(folder: Path) -> dict[int, Path]:
    """Step -> the picture of the samples after it."""
    found = sorted((folder / SAMPLES).glob("*-*.png"))
    return {int(path.stem.partition("-")[2]): path for path in found}


def wandb_mode() -> str:
    """WANDB_MODE if it is set; else online for somebody who is logged in, offline for everybody else."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    return "online" if is_logged_in() else "offline"


def is_logged_in() -> bool:
    """A key in the environment, or in netrc for the server in use (`wandb login` writes it there)."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    url = os.environ.get("WANDB_BASE_URL")
    hosts = [url.partition("://")[2].partition("/")[0]] if url else SERVERS
    try:
        entries = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, ValueError, netrc.NetrcParseError):
        return False
    return any(entries.authenticators(host) is not None for host in hosts)


@contextlib.contextmanager
def tracked(folder: Path, preview: Preview | None = None) -> Iterator[Record]:
    """A record in `folder`; with pictures of `preview` unless W&B, which shows them, is disabled."""
    record = Record(folder, preview if wandb_mode() != "disabled" else None)
    try:
        yield record
    finally:
        record.close()
