"""What SIGTERM does to a run: its parent stops as by Ctrl-C, its workers end at once. No torch."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait

from ..errors import TERMINATED, Terminated


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises Terminated inside the block, once. Only a process's main thread can ask for that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextmanager
def held_back(*numbers: signal.Signals) -> Iterator[None]:
    """These signals wait until the block ends; for a process started inside, until it asks for them (POSIX)."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_when_told() -> None:
    """From now on SIGTERM, and the end of the parent process, end this process at once; Ctrl-C does not.

    Python runs a handler between two bytecodes only, so a thread listens too: one long operation deafens nobody.
    Lightning adds a handler of its own, which waits for the end of the step; it calls this one after it.
    """
    # Ctrl-C reaches the whole process group: what to do about it is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.signal(signal.SIGTERM, _end)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(heard,), daemon=True).start()
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end(number: int, frame: object) -> None:
    os._exit(TERMINATED)


def _listen(heard: socket.socket) -> None:
    parent = parent_process()
    sources: list[socket.socket | int] = [heard] if parent is None else [heard, parent.sentinel]
    while wait(sources) == [heard]:
        if signal.SIGTERM in heard.recv(64):
            os._exit(TERMINATED)
    # A killed run leaves no worker behind that would hold a task's lock.
    os._exit(1)
