"""The artifact store: one folder per finished task, written aside and renamed into place. No torch.

    <root>/<kind>-<key>/           a finished task: manifest.json and its files
    <root>/.work/<kind>-<key>/     one under way: checkpoints and the log, kept for the next attempt
    <root>/.locks/, <root>/.corrupt/

The manifest, written last, lists the size and SHA-256 of every file; a folder without a sound one is set
aside, and its task is done again.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ..methods.portable import rename
from ..reports.writing import PART, write_atomic
from .errors import CorruptError as CorruptError
from .errors import InputError
from .locks import EXPIRED, Lock, forget, system_lock
from .locks import BusyError as BusyError
from .plan.kinds import ANSWERS, ASKED, Model
from .plan.task import canonical

# Results are checked by the hash of their files when they are read.
PART_OF_RESULTS = False

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Model)

MANIFEST = "manifest.json"
UNHASHED = {"log.txt", "events.jsonl", "shards.jsonl"}
ALWAYS_HASHED = 16 * 2**20
"""The smallest files of an artifact, so many bytes together, are hashed whenever it is looked up; others when they are
read.
"""


UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What reading a manifest raises that is no JSON, or JSON of another form."""


@dataclass(frozen=True)
class Artifact:
    """A finished task's folder; `result` is the small data that other tasks and reports read."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def result(self) -> dict[str, Any]:
        """The answer as JSON holds it."""
        result: dict[str, Any] = self.manifest["result"]
        return result

    def asked(self, model: type[M]) -> M:
        """What the task was asked, which must be of this model."""
        return self._checked(ASKED, self.manifest["params"], model)

    def answer(self, model: type[M]) -> M:
        """What it answered, which must be of this model."""
        return self._checked(ANSWERS, self.result, model)

    def _checked(self, models: Mapping[str, type[Model]], content: dict[str, Any], model: type[M]) -> M:
        """CorruptError for an artifact of another kind, or of a version with other fields."""
        kind = self.manifest["kind"]
        try:
            found = models[kind].model_validate(content)
        except (KeyError, ValidationError):
            raise CorruptError(f"{self.folder} is of another version of fewstep") from None
        if not isinstance(found, model):
            raise CorruptError(f"{self.folder}: expected {model.__name__}, found {type(found).__name__}")
        return found

    def file(self, name: str) -> Path:
        """The path of a file whose hash has just been checked."""
        if name not in self.manifest["files"]:
            raise CorruptError(f"{self.folder} has no {name}")
        _check(self.folder, name, self.manifest["files"][name], whole=True)
        return self.folder / name


class Store:
    """holder: who works here, as an executor knows it (see `Lock`)."""

    def __init__(self, root: Path, holder: str = "") -> None:
        self.root, self.holder = root, holder
        self._held: dict[str, Lock] = {}

    def prepare(self) -> None:
        """Make the folder, and say if its file system has no locks; InputError if it cannot be written."""
        probe = self.root / f".probe-{os.getpid()}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with probe.open("wb") as file:
                lock = system_lock(file.fileno())
            probe.unlink()
        except OSError as error:
            raise InputError(f"{self.root}: cannot write there: {error.strerror}") from None
        if lock is None:
            log.warning(
                "%s: this file system has no locks: a task whose worker was killed is taken over after %.0f minutes",
                self.root,
                EXPIRED / 60,
            )

    def tidy(self) -> None:
        """Remove the locks of owners that are dead, and the folders of work under way if nothing is in them."""
        for file in (self.root / ".locks").glob("*.lock"):
            lock = Lock(file, self.holder)
            with suppress(OSError, BusyError):
                lock.acquire()
                lock.release()
        for folder in (".work", ".locks"):
            with suppress(OSError):
                (self.root / folder).rmdir()

    def names(self) -> set[str]:
        """The finished artifacts, sound or not."""
        return {entry.name for entry in os.scandir(self.root) if entry.is_dir()} if self.root.is_dir() else set()

    def get(self, name: str) -> Artifact | None:
        """The finished artifact `name`, or None. Raises CorruptError."""
        folder = self.root / name
        if not os.path.lexists(folder):
            return None
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            digest = manifest.pop("digest")
            if digest != _digest(manifest) or f"{manifest['kind']}-{manifest['key']}" != name:
                raise CorruptError(f"{folder / MANIFEST}: its content does not match its digest")
            room = ALWAYS_HASHED
            for file, facts in sorted(manifest["files"].items(), key=lambda item: item[1]["bytes"]):
                _check(folder, file, facts, whole=facts["bytes"] <= room)
                room -= facts["bytes"]
        except UNREADABLE as error:
            raise CorruptError(f"{folder / MANIFEST}: {_reason(error)}") from None
        return Artifact(folder, manifest)

    def sound(self, name: str) -> Artifact | None:
        """As `get`; a corrupt artifact is set aside with a warning and counts as missing."""
        try:
            return self.get(name)
        except CorruptError as error:
            aside = self.root / ".corrupt" / f"{name}-{time.time_ns()}"
            log.warning("corrupt artifact: %s; set aside as %s, to be built again", error, aside)
            with suppress(OSError):  # Another process has set it aside, or the store cannot be written.
                aside.parent.mkdir(exist_ok=True)
                rename(self.root / name, aside)
            with suppress(OSError):
                aside.parent.rmdir()
            return None

    def need(self, name: str) -> Artifact:
        """An artifact that must be there: a task's input."""
        artifact = self.get(name)
        if artifact is None:
            raise CorruptError(f"{self.root / name} is missing")
        return artifact

    @contextmanager
    def work(self, name: str) -> Iterator[Path]:
        """The folder in which task `name` is worked on, under its lock. Raises BusyError if it is held."""
        _make(self.root / ".locks")
        folder = self.root / ".work" / name
        with Lock(self._lock(name), self.holder).renewed() as lock:
            self._held[name] = lock
            try:
                _make(folder)
                yield folder
            except Exception as error:
                # Who took the lock over has moved the folder away, or writes in it.
                raise (error if lock.held() else BusyError(name)) from error.__cause__
            finally:
                del self._held[name]
                with suppress(OSError):
                    folder.rmdir()  # Of a task that another process had finished: it is empty.

    def require_held(self, name: str) -> None:
        """BusyError if another process has taken over the lock of a task that this one works on."""
        if (lock := self._held.get(name)) is not None and lock.lost:
            raise BusyError(name)

    def is_busy(self, name: str) -> bool:
        """Whether somebody works on the task."""
        _make(self.root / ".locks")
        lock = Lock(self._lock(name), self.holder)
        try:
            lock.acquire()
        except BusyError:
            return True
        lock.release()
        return False

    def forget(self, name: str, holder: str) -> None:
        """Free the lock of a task whose holder is known to be dead."""
        forget(self._lock(name), holder)

    def _lock(self, name: str) -> Path:
        return self.root / ".locks" / f"{name}.lock"

    def commit(self, task: dict[str, Any], folder: Path, result: dict[str, Any], facts: dict[str, Any]) -> None:
        """Seal `folder` with its manifest and rename it into place.

        task: Task.to_json(); result: what readers need; facts: versions, device, times. BusyError if the lock was lost.
        """
        for part in folder.glob(f"*{PART}"):
            part.unlink()  # An earlier attempt was killed while it wrote this.
        files = sorted(p for p in folder.iterdir() if p.is_file() and p.name not in UNHASHED | {MANIFEST})
        manifest = {
            **task,
            "result": result,
            "files": {p.name: {"bytes": p.stat().st_size, "sha256": _sha256(p)} for p in files},
            **facts,
        }
        write_atomic(folder / MANIFEST, json.dumps({**manifest, "digest": _digest(manifest)}, indent=1, sort_keys=True))
        name = f"{task['kind']}-{task['key']}"
        if (lock := self._held.get(name)) is not None and not lock.held():
            raise BusyError(name)
        target = self.root / name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
        rename(folder, target)


def _make(folder: Path) -> None:
    """The folder and those above it, also where another run tidies one of them away at this moment."""
    for _ in range(3):
        with suppress(FileNotFoundError):
            return folder.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


UNWRITABLE = {errno.ENOSPC, errno.EROFS, *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else [])}
"""What no other task of a run would be spared: a full disk, a quota, a disk that is read-only."""


def unwritable(error: BaseException | None) -> str | None:
    """Why the disk took no more, if that is behind an error; libraries that write themselves say it in their text."""
    while error is not None:
        for number in UNWRITABLE:
            if (isinstance(error, OSError) and error.errno == number) or os.strerror(number) in str(error):
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


def _reason(error: BaseException) -> str:
    """In one line, and without a path that the message has already."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(manifest).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(folder: Path, name: str, facts: dict[str, Any], whole: bool) -> None:
    path = folder / name
    try:
        size = path.stat().st_size
    except OSError:
        raise CorruptError(f"{path} is missing") from None
    if size != facts["bytes"]:
        raise CorruptError(f"{path} has {size} bytes, not {facts['bytes']}")
    if whole and _sha256(path) != facts["sha256"]:
        raise CorruptError(f"{path} has another content than its manifest says")
