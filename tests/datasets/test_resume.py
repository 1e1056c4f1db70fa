"""An interrupted prepare goes on where it was, and ends in the same file."""

import errno
import os
import shutil

import pytest
from click.testing import CliRunner
from filelock import FileLock

from fewstep.bench.commands.main import main
from fewstep.datasets import sources, writing
from fewstep.datasets.facts import ArchiveError
from fewstep.datasets.prepare import prepare

COUNT = 12
ARCHIVE = "ffhq-64.zip"


@pytest.fixture
def source(tmp_path, picture):
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(COUNT):
        picture(i, 64).save(folder / f"{i:05d}.png")
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The names of the images that were decoded; `decoded.stop` is the one at which the process is interrupted."""
    convert = sources.convert

    class Names(list):
        stop = ""

    names = Names()

    def counted(spec, name, data):
        if name == names.stop:
            raise KeyboardInterrupt
        names.append(name)
        return convert(spec, name, data)

    monkeypatch.setattr(sources, "convert", counted)
    return names


def make(source, root, threads=1):
    return prepare("ffhq64", source, root, lambda file, count: None, threads)


def interrupt(source, root, decoded, at, threads=1):
    decoded.stop = f"{at:05d}.png"
    with pytest.raises(KeyboardInterrupt):
        make(source, root, threads)
    decoded.stop = ""
    decoded.clear()


def test_it_decodes_what_was_not_done_and_ends_in_the_same_bytes(source, tmp_path, decoded):
    ((whole, facts),) = make(source, tmp_path / "whole")
    root = tmp_path / "data"
    interrupt(source, root, decoded, 7)
    assert not (root / ARCHIVE).exists()
    ((path, resumed),) = make(source, root)
    assert decoded == [f"{i:05d}.png" for i in range(7, COUNT)]
    assert resumed == facts
    assert path.read_bytes() == whole.read_bytes()
    assert [entry.name for entry in root.iterdir()] == [ARCHIVE]


@pytest.mark.parametrize("threads", [2, 3, 20])
def test_threads_keep_the_order_and_what_they_were_ahead_with_is_done_again(source, tmp_path, decoded, threads):
    ((whole, facts),) = make(source, tmp_path / "whole")
    root = tmp_path / "data"
    interrupt(source, root, decoded, 7, threads)
    ((path, resumed),) = make(source, root, threads)
    assert sorted(decoded) == [f"{i:05d}.png" for i in range(7, COUNT)]
    assert resumed == facts
    assert path.read_bytes() == whole.read_bytes()


def test_of_two_broken_images_the_first_is_named_whichever_thread_was_quicker(source, tmp_path, decoded):
    (source / "00004.png").write_bytes((source / "00004.png").read_bytes()[:-100])
    (source / "00005.png").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"^00004\.png: not a whole image"):
        make(source, tmp_path / "data", threads=4)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("cut", [1, 20, 40, 1000, 3000])
def test_a_process_that_was_killed_leaves_a_tail_that_is_done_again(source, tmp_path, decoded, cut):
    """Whatever of the file's end did not reach the disk."""
    ((whole, _),) = make(source, tmp_path / "whole")
    root = tmp_path / "data"
    interrupt(source, root, decoded, 9)
    part = root / f".{ARCHIVE}.part"
    part.write_bytes(part.read_bytes()[:-cut])
    ((path, _),) = make(source, root)
    assert path.read_bytes() == whole.read_bytes()
    assert len(decoded) < COUNT


def test_an_image_that_was_garbled_on_disk_is_done_again(source, tmp_path, decoded):
    ((whole, _),) = make(source, tmp_path / "whole")
    root = tmp_path / "data"
    interrupt(source, root, decoded, 9)
    part = root / f".{ARCHIVE}.part"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 255
    part.write_bytes(data)
    ((path, _),) = make(source, root)
    assert path.read_bytes() == whole.read_bytes()
    assert 3 < len(decoded) < COUNT


def test_a_second_interruption_loses_nothing_either(source, tmp_path, decoded):
    ((whole, _),) = make(source, tmp_path / "whole")
    root = tmp_path / "data"
    interrupt(source, root, decoded, 3)
    interrupt(source, root, decoded, 8)
    ((path, _),) = make(source, root)
    assert decoded == [f"{i:05d}.png" for i in range(8, COUNT)]
    assert path.read_bytes() == whole.read_bytes()


def test_another_source_starts_anew(source, tmp_path, decoded, picture):
    root = tmp_path / "data"
    interrupt(source, root, decoded, 7)
    picture(99, 64).save(source / "00002.png")
    ((path, _),) = make(source, root)
    assert len(decoded) == COUNT
    ((whole, _),) = make(source, tmp_path / "whole")
    assert path.read_bytes() == whole.read_bytes()


def test_the_same_images_elsewhere_make_the_same_bytes(source, tmp_path):
    ((one, _),) = make(source, tmp_path / "one")
    shutil.copytree(source, tmp_path / "copy" / "faces")
    ((other, _),) = make(tmp_path / "copy" / "faces", tmp_path / "two")
    assert one.read_bytes() == other.read_bytes()


def test_progress_counts_on_from_what_was_there(source, tmp_path, decoded):
    interrupt(source, tmp_path / "data", decoded, 7)
    counts = []
    prepare("ffhq64", source, tmp_path / "data", lambda file, count: counts.append((file, count)))
    assert counts == [(ARCHIVE, i + 1) for i in range(COUNT)]


def test_two_processes_do_not_write_one_archive(source, tmp_path):
    (tmp_path / "data").mkdir()
    with (
        FileLock(tmp_path / "data" / f".{ARCHIVE}.lock"),
        pytest.raises(ArchiveError, match="another process is preparing it"),
    ):
        make(source, tmp_path / "data")


def command(source, root):
    words = ["prepare", "ffhq64", "--from", str(source), "--data-root", str(root), "--threads", "1"]
    return CliRunner().invoke(main, words)


def test_the_command_says_that_it_can_go_on(source, tmp_path, decoded):
    decoded.stop = "00005.png"
    stopped = command(source, tmp_path / "data")
    assert stopped.exit_code == 130
    assert stopped.stderr == "fewstep: stopped; the same command resumes from here\n"
    decoded.stop = ""
    decoded.clear()
    assert command(source, tmp_path / "data").exit_code == 0
    assert decoded == [f"{i:05d}.png" for i in range(5, COUNT)]


def test_a_full_disk_is_one_line_and_what_was_written_is_kept(source, tmp_path, decoded, monkeypatch):
    encode = writing._png

    def full(pixels):
        if len(decoded) == 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return encode(pixels)

    monkeypatch.setattr(writing, "_png", full)
    result = command(source, tmp_path / "data")
    assert result.exit_code == 2
    assert (
        result.stderr == f"fewstep: {tmp_path / 'data'}: No space left on device; the same command resumes from here\n"
    )
    monkeypatch.setattr(writing, "_png", encode)
    decoded.clear()
    assert command(source, tmp_path / "data").exit_code == 0
    assert len(decoded) == COUNT - 5
