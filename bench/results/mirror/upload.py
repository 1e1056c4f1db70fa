"""Writes a suite's runs to W&B, or to its offline files: what is there already is not written again. No torch.

wandb/mirrored.json in the run folder holds, by destination, what each run showed when it was last written whole.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ....reports.writing import write_atomic
from ...training.tracking import EVENTS, read_events, read_previews
from .described import FOLDER, Described, Runs
from .tables import artifact_files, fingerprint, log_results

MIRRORED = "mirrored.json"
PROJECT = "fewstep"
INIT_SECONDS, FINISH_SECONDS = 30, 150
AXES = ("budget/evaluations", "budget/images", "budget/spent", "seconds", "step")


class Mirror:
    """What a run folder's wandb/runs.json describes, in W&B's mode `online` or `offline`."""

    def __init__(self, folder: Path, runs: Runs, mode: str) -> None:
        self.folder, self.runs, self.mode = folder, runs, mode
        self.store = folder / runs.store
        self.project = runs.project or os.environ.get("WANDB_PROJECT") or PROJECT
        self._open: dict[str, Any] = {}
        self._logged: dict[str, int] = {}
        self._state = _read_state(folder / FOLDER / MIRRORED)

    @property
    def destination(self) -> str:
        """What is written to one is still missing in another."""
        if self.mode == "offline":
            return "offline"
        return " ".join((os.environ.get("WANDB_BASE_URL", ""), os.environ.get("WANDB_ENTITY", ""), self.project))

    @property
    def mirrored(self) -> dict[str, Any]:
        found: dict[str, Any] = self._state.setdefault(self.destination, {})
        return found

    @property
    def url(self) -> str | None:
        """The page of the suite's run; None offline."""
        entry = self.mirrored.get(self.runs.suite.id, {})
        return entry.get("url")

    def follow(self) -> None:
        """Write the new rows of every training that is under way; one that has ended meanwhile is closed."""
        for run in self.runs.trainings:
            ended = (self.store / run.task).is_dir()
            if run.id in self._open or (not ended and self._record(run) is not None):
                with suppress(OSError):  # The folder moves when a training ends: next time.
                    self._log_rows(run)
                    if ended:
                        self._open.pop(run.id).finish()

    def complete(self, on_written: Callable[[str], None] = lambda name: None) -> int:
        """Write all that is not there yet, the suite last, each announced by its name; how many there were."""
        written = 0
        for run in self.runs.trainings:
            if self._record(run) is not None and self._differs(run, digest := self._digest(run)):
                opened = self._log_rows(run)
                opened.summary.update(run.summary)
                if run.learned:
                    opened.log({"learned": _learned_table(run)})
                self._close(run, digest)
                on_written(run.name)
                written += 1
        suite = self.runs.suite
        if self._differs(suite, digest := _hashed(suite.model_dump(), fingerprint(self.folder))):
            opened = self._opened(suite)
            log_results(opened, self.folder)
            opened.summary.update(suite.summary)
            self._log_artifact(opened)
            self._close(suite, digest)
            on_written(suite.name)
            written += 1
        return written

    def _record(self, run: Described) -> Path | None:
        """The folder of a training's record; None where there is none: it was shipped, or is not yet begun."""
        for folder in (self.store / run.task, self.store / ".work" / run.task):
            if (folder / EVENTS).is_file():
                return folder
        return None

    def _digest(self, run: Described) -> str:
        folder = self._record(run)
        assert folder is not None
        return _hashed(run.model_dump(), read_events(folder)[-1:], sorted(read_previews(folder)))

    def _differs(self, run: Described, digest: str) -> bool:
        return self.mirrored.get(run.id, {}).get("digest") != digest

    def _log_rows(self, run: Described) -> Any:
        """The W&B run, open, with all rows that it lacks."""
        import wandb

        opened, folder = self._opened(run), self._record(run)
        assert folder is not None
        pictures, last = read_previews(folder), self._logged.get(run.id, -1)
        for row in read_events(folder):
            step = row["step"]
            if step > last:
                shown = {"samples": wandb.Image(str(pictures[step]))} if step in pictures else {}
                opened.log({**row, **shown}, step=step)
                self._logged[run.id] = step
        return opened

    def _opened(self, run: Described) -> Any:
        import wandb

        if run.id in self._open:
            return self._open[run.id]
        wanted = {
            "init_timeout": float(os.environ.get("WANDB_INIT_TIMEOUT", INIT_SECONDS)),
            "finish_timeout": FINISH_SECONDS,
            "finish_timeout_raises": True,
            "silent": True,
            "console": "off",
            "disable_git": True,
            "x_disable_stats": True,
        }
        known = getattr(wandb.Settings, "model_fields", wanted)
        opened = wandb.init(
            project=self.project,
            id=run.id,
            name=run.name,
            group=run.group,
            job_type=run.job_type,
            config=run.config,
            tags=self.runs.tags or None,
            dir=os.environ.get("WANDB_DIR") or self.folder,
            mode=self.mode,  # type: ignore[arg-type]
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**{name: value for name, value in wanted.items() if name in known}),
        )
        if run.task:
            for axis in AXES:
                opened.define_metric(axis)
            opened.define_metric("*", step_metric=AXES[0])
            if opened.resumed:
                # W&B takes no row of a step that it has passed.
                self._logged[run.id] = max(self._logged.get(run.id, -1), opened.starting_step - 1)
        self._open[run.id] = opened
        return opened

    def _close(self, run: Described, digest: str) -> None:
        opened = self._open.pop(run.id)
        url = opened.url
        opened.finish()
        self.mirrored[run.id] = {"digest": digest, **({"url": url} if url else {})}
        write_atomic(self.folder / FOLDER / MIRRORED, json.dumps(self._state, indent=1))

    def _log_artifact(self, opened: Any) -> None:
        import wandb

        artifact = wandb.Artifact(f"{_plain(self.runs.suite.name)}-results", type="results")
        for path in artifact_files(self.folder):
            artifact.add_file(str(path), name=path.relative_to(self.folder).as_posix())
        opened.log_artifact(artifact)


def _learned_table(run: Described) -> Any:
    import wandb

    rows: list[Any] = [[name, i, value] for name, values in run.learned for i, value in enumerate(values)]
    return wandb.Table(columns=["name", "index", "value"], data=rows)


def _plain(name: str) -> str:
    """As W&B takes the name of an artifact."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)[:100]


def _hashed(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _read_state(path: Path) -> dict[str, Any]:
    """Without it, or if it is damaged, everything counts as not written: W&B takes no row twice."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict) and all(isinstance(runs, dict) for runs in found.values()):
            return found
    return {}
