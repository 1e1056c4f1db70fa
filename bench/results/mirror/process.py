"""The process that talks to W&B: whatever happens to it, the run that started it goes on. No torch, no wandb."""

import contextlib
import os
import traceback
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from ...run.signals import end_when_told
from . import described

FOLLOW_SECONDS = 10.0
"""Between two looks at the trainings that are under way."""
STALL_SECONDS = 180.0
"""A W&B run takes less; after so long without another one, W&B is given up."""
LOG = "mirror.log"


class MirrorError(Exception):
    """W&B has not everything; the message says why."""


@dataclass(frozen=True)
class Mirrored:
    """written: how many W&B runs were new or changed. url: of the suite's run, None offline."""

    written: int
    url: str | None


class Mirroring:
    """A process that mirrors the run folder `folder`: with `follow`, trainings while they are under way."""

    def __init__(self, folder: Path, mode: str, follow: bool = False) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs, folder, mode, follow), daemon=True)
        self._process.start()
        theirs.close()

    def finish(self) -> Mirrored:
        """Wait until all that wandb/runs.json describes is written. MirrorError if it is not, or nothing moves."""
        with contextlib.suppress(OSError):
            self._connection.send("complete")
        while self._connection.poll(STALL_SECONDS):
            try:
                event, payload = self._connection.recv()
            except (EOFError, OSError):
                raise MirrorError("its process ended") from None
            if event == "done":
                return Mirrored(*payload)
            if event == "failed":
                raise MirrorError(payload)
        raise MirrorError(f"no answer in {STALL_SECONDS:g} seconds")

    def close(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join()


def main(connection: Connection, folder: Path, mode: str, follow: bool) -> None:
    """Follow trainings, if asked, until "complete" is received; then write all. What W&B prints goes to a file."""
    end_when_told()
    try:
        _log_to(folder / described.FOLDER / LOG)
        from .upload import Mirror

        mirror = Mirror(folder, described.read(folder), mode)
        while follow and not connection.poll(FOLLOW_SECONDS):
            try:
                mirror.follow()
            except Exception:  # until the end the server may be well again
                traceback.print_exc()
                mirror, follow = Mirror(folder, described.read(folder), mode), False
        connection.recv()
        mirror.runs = described.read(folder)
        written = mirror.complete(lambda name: connection.send(("written", name)))
        connection.send(("done", (written, mirror.url)))
    except EOFError:
        return
    except BaseException as error:
        traceback.print_exc()
        connection.send(("failed", _reason(error)))
    # What W&B would still do at the exit of the interpreter may wait for a server.
    os._exit(0)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.close(file)


def _reason(error: BaseException) -> str:
    """One line."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
