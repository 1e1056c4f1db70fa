"""A worker process: takes tasks one at a time and makes their artifacts."""

import contextlib
import logging
import os
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ...methods.errors import IntegrationError
from ...reports.status import Kind, Status
from ..errors import TaskError
from ..plan import rehearsal
from ..plan.kinds import ASKED
from ..store import BusyError, CorruptError, Store, unwritable
from . import companions
from .allocator import keep_freed_memory
from .signals import end_when_told

LOG = "log.txt"


def main(connection: Connection, root: Path, variables: dict[str, str]) -> None:
    """Serve tasks until the connection closes. Messages in: (task, its torch threads); out: (event, name, payload).

    variables: the environment of the process that asks, not always the one in which this process was started.
    """
    os.environ.clear()
    os.environ.update(variables)
    begin()
    import torch

    store = Store(root)
    while True:
        try:
            task, threads = connection.recv()
        except (EOFError, OSError):
            return
        torch.set_num_threads(threads)
        name = _name(task)
        event, payload = execute(task, store, partial(_report, connection, name))
        connection.send((event, name, payload))


def begin() -> None:
    """What every process that does tasks does first."""
    end_when_told()
    keep_freed_memory()
    rehearsal.resume()
    quiet_libraries()


def _report(connection: Connection, name: str, share: float) -> None:
    connection.send(("progress", name, share))


def _name(task: dict[str, Any]) -> str:
    return f"{task['kind']}-{task['key']}"


def execute(task: dict[str, Any], store: Store, on_progress: Any = lambda share: None) -> tuple[str, Any]:
    """Make one task's artifact: ("done", None), ("busy", None), ("died", which companion), ("failed", its
    Status), or ("unwritable", reason).
    """
    name = _name(task)

    def told(share: float) -> None:
        store.require_held(name)
        on_progress(share)

    try:
        with store.work(name) as folder:
            if store.sound(name) is not None:
                return "done", None
            with logged(folder / LOG):
                try:
                    result, facts = _make(task, store, folder, told)
                except BaseException:
                    with contextlib.suppress(OSError):
                        traceback.print_exc()
                    raise
            # With the log closed: Windows renames no folder with an open file in it.
            store.commit(task, folder, result, facts)
        return "done", None
    except BusyError:
        return "busy", None
    except companions.CompanionDied as error:
        return "died", str(error)
    except Exception as error:
        if (reason := unwritable(error)) is not None:
            return "unwritable", reason
        return "failed", _status(error, store.root / ".work" / name / LOG)


def _status(error: Exception, log_file: Path) -> Status:
    if isinstance(error, (TaskError, CorruptError, IntegrationError)):
        return error.status if isinstance(error, TaskError) else Status(Kind.FAILED, str(error))
    first = str(error).splitlines()[0] if str(error) else ""
    return Status(Kind.FAILED, f"{type(error).__name__}: {first} (see {log_file})")


def _make(task: dict[str, Any], store: Store, folder: Path, on_progress: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The stage's answer, and what it was made with."""
    started, cpu = time.time(), time.process_time()
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {task['label']}", flush=True)
    with companions.beside(task, store.root, folder):
        result = answer(task, store, folder, on_progress)
    return result.dumped(), {
        "started": started,
        "ended": time.time(),
        "cpu_seconds": time.process_time() - cpu,
        "environment": environment(),
    }


def answer(task: dict[str, Any], store: Store, folder: Path, on_progress: Any = lambda share: None) -> Any:
    """What the task's stage says when it has written to `folder`."""
    from ..stages.context import Context

    inputs = {role: store.need(name) for role, name in task["inputs"].items()}
    stage = import_module(f"..stages.{task['kind']}", __package__)
    params = ASKED[task["kind"]].model_validate(task["params"])
    return stage.run(Context(task["key"], task["label"], params, inputs, folder, on_progress))


def environment() -> dict[str, Any]:
    """What the artifact was made with."""
    import torch

    return {
        "fewstep": version("fewstep"),
        "torch": torch.__version__,
        "lightning": version("pytorch-lightning"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "git_commit": _git_commit(Path(__file__).parents[2]),
    }


def _git_commit(root: Path) -> str | None:
    """The checkout's commit, or a worktree's, read without running git; None outside a checkout."""
    with contextlib.suppress(OSError):
        git = root / ".git"
        if git.is_file():
            git = root / git.read_text(encoding="utf-8").strip().removeprefix("gitdir: ")
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head
        shared = git / "commondir"
        common = git / shared.read_text(encoding="utf-8").strip() if shared.is_file() else git
        return _commit_of(head.removeprefix("ref: "), common)
    return None


def _commit_of(ref: str, git: Path) -> str | None:
    """Of a branch, in a file of its own or packed with others."""
    if (git / ref).is_file():
        return (git / ref).read_text(encoding="utf-8").strip()
    lines = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), None)


@contextlib.contextmanager
def logged(path: Path) -> Iterator[None]:
    """Everything that the task prints, warns or logs goes to its log file, whatever library it comes from."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(file, 1)
        os.dup2(file, 2)
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(file)


def quiet_libraries() -> None:
    """Import what every stage needs; Lightning's tips stay out of the logs."""
    import pytorch_lightning  # noqa: F401

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", force=True)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    # A method says itself which of its networks train with dropout.
    warnings.filterwarnings("ignore", message="Found .* in eval mode at the start of training")
