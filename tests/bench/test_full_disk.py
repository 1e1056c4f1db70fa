"""A disk that takes no more: one line and exit code 2, and afterwards the same command ends as if it had been empty."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest
from safetensors import SafetensorError

from fewstep.bench.stages import shards
from fewstep.reports.writing import PART, WriteError, write_atomic
from fewstep.tests.bench.in_process import call, in_process, is_one_line, table, write_suite

__all__ = ["in_process"]


class Disk:
    """Counts the writes of a process, and refuses the one of number `full` and all after it."""

    def __init__(self, monkeypatch):
        self.full, self.writes = -1, 0
        self._wrap(monkeypatch, os, "replace")
        self._wrap(monkeypatch, os, "fsync")
        self._wrap(monkeypatch, pathlib.Path, "mkdir")
        self._wrap(monkeypatch, pathlib.Path, "open", lambda path, mode="r", *rest, **more: set(mode) & set("wax+"))
        text = 'Error while serializing: IoError(Os { code: 28, message: "No space left on device" })'
        self._wrap(monkeypatch, shards, "save_file", error=SafetensorError(text))

    def _wrap(self, monkeypatch, owner, name, writes=lambda *given, **more: True, error=None):
        real = getattr(owner, name)

        def wrapped(*given, **more):
            if writes(*given, **more):
                self.writes += 1
                if 0 < self.full <= self.writes:
                    raise error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(given[0]))
            return real(*given, **more)

        monkeypatch.setattr(owner, name, wrapped)

    def fill(self, at):
        self.full, self.writes = at, 0


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_whichever_write_of_a_run_finds_the_disk_full_the_same_command_ends_as_without(
    tmp_path, monkeypatch, in_process, step
):
    suite, disk = write_suite(tmp_path), Disk(monkeypatch)
    assert call("run", suite, "--out", tmp_path / "whole").exit_code == 0
    writes, whole = disk.writes, table(tmp_path / "whole")
    assert writes > 40
    for k in range(1, writes + 1, step):
        out = tmp_path / str(k)
        disk.fill(at=k)
        refused = call("run", suite, "--out", out)
        assert is_one_line(refused), (k, refused.output, refused.exception)
        assert "No space left on device" in refused.stderr
        assert not list(out.glob(f"**/*{PART}"))
        disk.fill(at=0)
        again = call("run", suite, "--out", out)
        assert again.exit_code == 0, again.stderr
        assert table(out) == whole
        names = [
            sorted(path.name for path in folder.iterdir() if path.is_file()) for folder in (out, tmp_path / "whole")
        ]
        assert names[0] == names[1]
        assert not (out / "store" / ".work").exists()


def test_a_file_is_as_it_was_when_the_disk_is_full(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomic(file, "old")
    disk = Disk(monkeypatch)
    for k in range(1, 4):
        disk.fill(at=k)
        with pytest.raises(WriteError, match="file: cannot write there: No space left on device"):
            write_atomic(file, "new")
        disk.fill(at=0)
        assert file.read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_link_stays_a_link_and_a_device_is_written_to(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_atomic(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    write_atomic(pathlib.Path(os.devnull), "text")
    assert pathlib.Path(os.devnull).is_char_device()


def fewstep(*arguments, **options):
    command = [sys.executable, "-c", "from fewstep.bench.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
@pytest.mark.parametrize("words", [["list", "methods"], ["--help"], ["show", "euler"]])
def test_output_to_a_full_device_is_one_line(words):
    with open("/dev/full", "w") as full:
        result = fewstep(*words, stdout=full)
    assert result.returncode == 2
    assert result.stderr == "fewstep: cannot write: No space left on device\n"


def test_a_closed_pipe_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    result = fewstep("list", "methods", stdout=writer)
    os.close(writer)
    assert "Traceback" not in result.stderr


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["20k", "40k", "60k", "200k"])
def test_a_run_on_a_small_disk_goes_on_when_there_is_room(tmp_path, small_disk, size):
    trained = {"name": "consistency", "options": {"batch": 16}}
    suite = write_suite(
        tmp_path,
        teachers={"name": "pretrain", "images": 640, "network": {"name": "mlp"}},
        methods=[{"name": "euler"}, trained],
    )
    assert fewstep("run", suite, "--out", tmp_path / "whole").returncode == 0
    subprocess.run(["mount", "-o", f"remount,size={size}", small_disk], check=True)
    refused = fewstep("run", suite, "--out", small_disk / "out")
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("fewstep: ")
    assert "No space left on device" in refused.stderr
    assert "Traceback" not in refused.stderr
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    again = fewstep("run", suite, "--out", small_disk / "out")
    assert again.returncode == 0, again.stderr
    assert table(small_disk / "out") == table(tmp_path / "whole")
