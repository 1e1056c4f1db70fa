"""The record of a training run: an append-only JSONL file on disk is the truth, W&B its mirror."""

import contextlib
import json
import logging
import netrc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

# A record is written for people and read by nobody's computation.
PART_OF_RESULTS = False

log = logging.getLogger(__name__)

EVENTS = "events.jsonl"
SERVERS = ("api.wandb.ai", "api.forge.coreweave.com")
"""W&B's default servers: until and since version 0.31."""


class Tracker(Protocol):
    def log(self, row: dict[str, Any]) -> None:
        """Enter one row; `step` tells which."""
        ...


class NoTracker:
    """For runs whose record nobody reads, such as tests."""

    def log(self, row: dict[str, Any]) -> None:
        pass


class Record:
    """Rows appended to events.jsonl, each flushed; a resumed run may repeat steps, and the last row counts."""

    def __init__(self, folder: Path, mirror: Any = None) -> None:
        self._file = (folder / EVENTS).open("a", encoding="utf-8")
        self._mirror = mirror

    def log(self, row: dict[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        if self._mirror is not None:
            try:
                self._mirror.log(row)
            except Exception as error:  # a mirror that breaks, however it breaks, must not stop the run
                log.warning("W&B stopped mirroring: %s", error)
                self._mirror = None

    def close(self) -> None:
        self._file.close()


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run in order of step, each step once; a row cut off by a kill, or of another form, is left out."""
    rows: dict[int, dict[str, Any]] = {}
    for line in (folder / EVENTS).read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int:
                rows[row["step"]] = row
    return [rows[step] for step in sorted(rows)]


def wandb_mode() -> str:
    """WANDB_MODE if it is set; else online for somebody who is logged in, offline for everybody else."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode
    return "online" if _logged_in() else "offline"


def _logged_in() -> bool:
    """A key in the environment, or in netrc for the server in use (`wandb login` writes it there)."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    url = os.environ.get("WANDB_BASE_URL")
    hosts = [url.partition("://")[2].partition("/")[0]] if url else SERVERS
    try:
        entries = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return False
    return any(entries.authenticators(host) is not None for host in hosts)


@contextlib.contextmanager
def tracked(folder: Path, key: str, name: str, group: str, config: dict[str, Any]) -> Iterator[Record]:
    """A record in `folder` mirrored to one W&B run of id `key`; without W&B, or if it fails, the record alone."""
    run = _wandb_run(folder, key, name, group, config)
    record = Record(folder, run)
    try:
        yield record
    finally:
        record.close()
        if run is not None:
            with contextlib.suppress(Exception):
                run.finish()


def _wandb_run(folder: Path, key: str, name: str, group: str, config: dict[str, Any]) -> Any:
    mode = wandb_mode()
    if mode == "disabled":
        return None
    try:
        import wandb

        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "fewstep"),
            id=key,
            name=name,
            group=group,
            config=config,
            dir=folder,
            mode=mode,  # type: ignore[arg-type]
            resume="allow",
            settings=wandb.Settings(init_timeout=30, silent=True, console="off"),
        )
        for axis in ("budget/evaluations", "budget/images", "step"):
            run.define_metric(axis)
        run.define_metric("*", step_metric="budget/evaluations")
        return run
    except Exception as error:  # no network, no server, another version: the record on disk is enough
        log.warning("W&B does not mirror this run: %s", error)
        return None
