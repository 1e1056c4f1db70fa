"""Locks of tasks: between processes and machines, with clocks that differ and file systems that have no locks."""

import errno
import fcntl
import json
import logging
import os
import subprocess
import sys
import time

import pytest

from fewstep.bench import locks
from fewstep.bench.commands import places
from fewstep.bench.locks import EXPIRED, BusyError, Lock, forget
from fewstep.bench.run import worker
from fewstep.bench.store import Store
from fewstep.tests.bench.in_process import call, in_process, is_one_line, table, write_suite

__all__ = ["in_process"]
NAME = "train-0123456789abcdef"


@pytest.fixture
def path(tmp_path):
    return tmp_path / f"{NAME}.lock"


@pytest.fixture
def lockless(monkeypatch):
    """A file system that has no locks."""

    def refuse(*given):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


def left_behind(path, age, machine="another", holder=""):
    """The lock of a process that has ended without removing it, renewed `age` seconds ago."""
    path.write_text(json.dumps({"token": "0", "machine": machine, "holder": holder}))
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))


def is_free(path, holder=""):
    lock = Lock(path, holder)
    try:
        lock.acquire()
    except BusyError:
        return False
    lock.release()
    return True


def test_a_lock_is_held_by_one_and_free_again_afterwards(path):
    lock = Lock(path)
    lock.acquire()
    assert lock.held()
    assert not is_free(path)
    lock.release()
    assert not path.exists()
    assert is_free(path)


def test_a_lock_without_locks_of_the_file_system_is_held_by_one_too(path, lockless):
    lock = Lock(path)
    lock.acquire()
    assert not is_free(path)
    lock.release()
    assert is_free(path)


def test_who_was_killed_on_this_machine_is_known_to_be_dead_at_once(path):
    code = (
        "import os; from pathlib import Path; from fewstep.bench.locks import Lock\n"
        f"Lock(Path({str(path)!r})).acquire(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert json.loads(path.read_text())["machine"] == locks.machine()
    assert is_free(path)


@pytest.mark.parametrize(("age", "free"), [(EXPIRED - 20, False), (EXPIRED + 20, True), (-20, False), (-3600, True)])
def test_the_lock_of_another_machine_is_free_when_it_was_not_renewed_for_long(path, age, free):
    left_behind(path, age)
    assert is_free(path) == free


@pytest.mark.parametrize("machine", ["another", "this"])
def test_without_locks_of_the_file_system_the_age_alone_counts(path, lockless, machine):
    machine = locks.machine() if machine == "this" else machine
    left_behind(path, EXPIRED - 20, machine)
    assert not is_free(path)
    left_behind(path, EXPIRED + 20, machine)
    assert is_free(path)


@pytest.mark.parametrize("skew", [-86_400, 86_400])
def test_the_clock_of_this_machine_does_not_matter(path, monkeypatch, skew):
    now = time.time() + skew
    monkeypatch.setattr(time, "time", lambda: now)
    left_behind(path, EXPIRED - 20)
    assert not is_free(path)
    left_behind(path, EXPIRED + 20)
    assert is_free(path)


def test_a_holder_that_starts_again_does_not_wait_for_itself(path):
    left_behind(path, 0, holder="job 7")
    assert not is_free(path)
    assert not is_free(path, "job 8")
    assert is_free(path, "job 7")


def test_a_holder_that_is_known_to_be_dead_is_forgotten(path):
    left_behind(path, 0, holder="job 7")
    forget(path, "job 8")
    assert not is_free(path)
    forget(path, "job 7")
    assert is_free(path)


def test_an_owner_that_was_taken_for_dead_leaves_its_successor_alone(path, lockless):
    suspended = Lock(path)
    suspended.acquire()
    os.utime(path, (0, 0))
    successor = Lock(path)
    successor.acquire()
    assert not suspended.held()
    suspended.release()
    assert successor.held()
    assert not is_free(path)


def test_a_renewed_lock_is_young_again(path, monkeypatch):
    monkeypatch.setattr(locks, "RENEWED", 0.001)
    with Lock(path).renewed():
        os.utime(path, (0, 0))
        while path.stat().st_mtime == 0:
            pass
        assert not is_free(path)


def test_of_several_that_find_an_expired_lock_one_gets_it(path):
    left_behind(path, EXPIRED + 20)
    first, second = Lock(path), Lock(path)
    first.acquire()
    with pytest.raises(BusyError):
        second.acquire()
    assert first.held()


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def test_who_loses_its_lock_while_it_works_is_busy_and_changes_nothing(store, lockless, monkeypatch):
    """The other owner has finished the task by the time this one looks again."""
    task = {"kind": "train", "key": NAME[6:], "params": {}, "inputs": {}, "label": "a task"}

    def make(task, own, folder, on_progress):
        os.utime(store.root / ".locks" / f"{NAME}.lock", (0, 0))
        with Store(store.root).work(NAME) as theirs:
            (theirs / "weights").write_bytes(b"1")
            store.commit(task, theirs, {}, {})
        return {}, {}

    monkeypatch.setattr(worker, "_make", make)
    assert worker.execute(task, Store(store.root)) == ("busy", None)
    assert store.get(NAME).file("weights").read_bytes() == b"1"


def test_progress_tells_an_owner_that_its_lock_is_lost(store, lockless, monkeypatch):
    own, steps = Store(store.root), []

    def make(task, _, folder, on_progress):
        on_progress(0.1)
        os.utime(store.root / ".locks" / f"{NAME}.lock", (0, 0))
        with store.work(NAME):
            own._held[NAME].held()  # As the renewal does.
            on_progress(0.2)

    monkeypatch.setattr(worker, "_make", make)
    answer = worker.execute({"kind": "train", "key": NAME[6:]}, own, steps.append)
    assert (answer, steps) == (("busy", None), [0.1])


def test_a_file_system_without_locks_is_told_in_one_line(store, lockless, caplog):
    with caplog.at_level(logging.WARNING):
        store.prepare()
    (line,) = caplog.messages
    assert line == (
        f"{store.root}: this file system has no locks: a task whose worker was killed is taken over after 5 minutes"
    )


def test_a_task_that_a_dead_machine_held_is_done_when_its_lock_has_expired(tmp_path, in_process, lockless):
    suite, whole, out = write_suite(tmp_path), tmp_path / "whole", tmp_path / "out"
    assert call("run", suite, "--out", whole).exit_code == 0
    folder = out / "store" / ".locks"
    folder.mkdir(parents=True)
    for artifact in (whole / "store").glob("*-*"):
        left_behind(folder / f"{artifact.name}.lock", EXPIRED + 20)
    assert call("run", suite, "--out", out).exit_code == 0
    assert table(out) == table(whole)
    assert not folder.exists()


def test_a_store_that_can_only_be_read_answers_and_takes_nothing(tmp_path, in_process, monkeypatch):
    suite, store, probe = write_suite(tmp_path), tmp_path / "store", places._probe
    assert call("run", suite, "--out", tmp_path / "out", "--store", store).exit_code == 0

    def refuse(folder):
        if folder == store:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        probe(folder)

    monkeypatch.setattr(places, "_probe", refuse)
    assert call("run", suite, "--out", tmp_path / "again", "--store", store, "--cached").exit_code == 0
    assert table(tmp_path / "again") == table(tmp_path / "out")
    refused = call("run", suite, "--out", tmp_path / "more", "--store", store)
    assert is_one_line(refused)
    assert refused.stderr.strip() == f"fewstep: {store}: cannot write there: Read-only file system"
