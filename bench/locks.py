"""Who works on a task: locks that hold between machines, on file systems with locks of their own and without. No torch.

A lock is a file that is made only where there is none, renewed by its owner every RENEWED seconds, and taken over after
EXPIRED seconds without renewal. Both times come from files of one folder, so that the clocks of the machines do not
matter. Where an owner is known to be dead, nobody waits: on its own machine the operating system's lock on the file
tells, elsewhere the executor that started it.

Who loses a lock while alive, because it was suspended or cut off, has worked in vain; no result is wrong.
"""

import errno
import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

# Results are checked by the hash of their files when they are read.
PART_OF_RESULTS = False

RENEWED, EXPIRED = 30.0, 300.0
"""Seconds. File systems of clusters show a file's time up to a minute late."""
TRIES = 20
"""How often a lock is tried that others take and release meanwhile."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class BusyError(Exception):
    """Another process is doing this task."""


@cache
def machine() -> str:
    """This machine until its next start; elsewhere than on Linux its name."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def system_lock(descriptor: int) -> bool | None:
    """Take the operating system's lock on an open file; False if another process has it, None if there are none here.

    It lasts until the file is closed, or its process ends.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 2**20, os.SEEK_SET)  # Behind the content, which others read.
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in TAKEN else None
    return True


class Lock:
    """Of one task: the file `path`, whose folder must exist.

    holder: who an executor knows to be dead when it starts the same holder again, or says so (`forget`).
    """

    def __init__(self, path: Path, holder: str = "") -> None:
        self.path = path
        self._content = {"token": uuid4().hex, "machine": machine(), "holder": holder}
        self._descriptor = -1
        self._released = threading.Event()
        self.lost = False

    def acquire(self) -> None:
        """BusyError if another owner is alive, or may be."""
        try:
            for _ in range(TRIES):
                if self._create() or self._take_over():
                    return
        except OSError:  # Such as a full disk: what is there of the lock would hold it as long as this process lasts.
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                self.path.unlink(missing_ok=True)
            raise
        raise BusyError(self.path.stem)

    def release(self) -> None:
        """Remove the file, unless another owner has taken it over."""
        self._released.set()
        if self._descriptor < 0:
            return
        if sys.platform == "win32":  # Which removes no open file.
            os.close(self._descriptor)
        with suppress(OSError):
            if self.held():
                self.path.unlink()
        if sys.platform != "win32":
            os.close(self._descriptor)
        self._descriptor = -1

    @contextmanager
    def renewed(self) -> Iterator["Lock"]:
        """Acquired and renewed while the block lasts; `lost` tells when another owner took it over."""
        self.acquire()
        threading.Thread(target=self._renew, daemon=True).start()
        try:
            yield self
        finally:
            self.release()

    def held(self) -> bool:
        """Whether the file still names this owner."""
        try:
            self.lost = self.lost or _read(self.path).get("token") != self._content["token"]
        except FileNotFoundError:
            self.lost = True
        return not self.lost

    def _renew(self) -> None:
        while not self._released.wait(RENEWED):
            with suppress(OSError):  # A server that does not answer now may answer next time.
                if not self.held():
                    return
                os.utime(self.path)

    def _create(self) -> bool:
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        system_lock(self._descriptor)  # Before there is content: nobody else tries for a file without.
        self._write()
        return True

    def _take_over(self) -> bool:
        """Whether the owner was dead; False if the file vanished meanwhile. BusyError otherwise."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            lock = system_lock(descriptor) if _read(self.path) else None
            if not os.path.samestat(os.fstat(descriptor), self.path.stat()):
                return False
            if lock is False or not self._is_dead(_read(self.path), lock):
                raise BusyError(self.path.stem)
            self._descriptor, descriptor = descriptor, -1
            self._write()
            return True
        except FileNotFoundError:
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _is_dead(self, owner: dict[str, str], lock: bool | None) -> bool:
        if owner.get("holder") and owner["holder"] == self._content["holder"]:
            return True
        if lock and owner.get("machine") == machine():
            return True
        # Renewed long ago or, where a clock was set back, in a future that is not near.
        return abs(_now(self.path.parent) - self.path.stat().st_mtime) > EXPIRED

    def _write(self) -> None:
        os.truncate(self._descriptor if sys.platform != "win32" else self.path, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, json.dumps(self._content).encode())
        os.fsync(self._descriptor)  # Other machines see what is on the server.


def forget(path: Path, holder: str) -> None:
    """Remove a lock whose owner is known to be dead; nothing if it has another owner by now."""
    with suppress(OSError):
        if holder and _read(path).get("holder") == holder:
            path.unlink()


def _read(path: Path) -> dict[str, str]:
    """What a lock's file says; nothing if its owner has not written it yet."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _now(folder: Path) -> float:
    """The time as the folder's files have it, in seconds since 1970."""
    probe = folder / f".now-{uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
