"""Where nothing can be written, a command says so before the work, in one line, and leaves nothing behind."""

import os

import numpy as np
import pytest

from fewstep.bench.commands import drawing, evaluate_images
from fewstep.bench.results import lookup
from fewstep.bench.run import runner
from fewstep.reports import run as reports
from fewstep.tests.bench.in_process import call, is_one_line, run_in_process, write_suite


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a suite, its run, an npz of images, and things that are in the way."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        assert call("run", write_suite(folder), "--out", folder / "run").exit_code == 0
    np.savez(folder / "images.npz", np.zeros((4, 8, 8, 3), np.uint8))
    (folder / "file").write_text("mine")
    (folder / "gone").symlink_to("nowhere/at/all")
    (folder / "loop").symlink_to("loop")
    (folder / "closed").mkdir()
    (folder / "taken" / "results.csv").mkdir(parents=True)
    return folder


@pytest.fixture
def here(made, monkeypatch):
    """That folder, in which any work is a failure of the test."""

    def work(*given, **more):
        raise AssertionError("the work began before the place was looked at")

    for module, name in (
        (runner, "run"),
        (reports.figures, "for_report"),
        (drawing, "nearest_samples"),
        (lookup, "nearest_samples"),
    ):
        monkeypatch.setattr(module, name, work)
    monkeypatch.setattr(evaluate_images, "evaluate", work)
    monkeypatch.chdir(made)
    return made


def tree(folder):
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.glob("**/*"))


ROW = ("--method", "euler", "--nfe", 2)
INTO_FOLDERS = {
    "run --out": ("run", "small.yaml", "--out"),
    "run --store": ("run", "small.yaml", "--store"),
    "evaluate --out": ("evaluate", "images.npz", "--dataset", "images.npz", "--metrics", "fid", "--out"),
    "evaluate --store": ("evaluate", "images.npz", "--dataset", "images.npz", "--metrics", "fid", "--store"),
}
INTO_FILES = {
    "report": ("report", "run", "--out"),
    "sample": ("sample", "run", *ROW, "--out"),
    "export": ("export", "run", *ROW, "--out"),
}
NOWHERE = (
    "file/x",
    "file/x/y",
    "x" * 300,
    "new/" + "x" * 300,
    "y/" * 3000,
    "loop/x",
    "gone/x",
    "/dev/null/x",
    "/proc/x",
)


@pytest.mark.parametrize("verb", [*INTO_FOLDERS, *INTO_FILES])
def test_where_nothing_can_be_written_the_work_does_not_begin(here, verb):
    before = tree(here)
    places = (*NOWHERE, "file", "gone", "loop") if verb in INTO_FOLDERS else (*NOWHERE, "taken", ".")
    for place in places:
        result = call(*{**INTO_FOLDERS, **INTO_FILES}[verb], place)
        assert is_one_line(result), (place[:40], result.output, result.exception)
        assert "cannot write there" in result.stderr
        assert len(result.stderr) < 500
    assert tree(here) == before


@pytest.mark.parametrize("verb", ["run --out", "evaluate --out"])
def test_a_folder_in_the_way_of_a_file_of_the_results_is_named(here, verb):
    result = call(*INTO_FOLDERS[verb], "taken")
    assert is_one_line(result)
    assert "taken/results.csv: cannot write there: it is in the way" in result.stderr


@pytest.mark.parametrize("verb", [*INTO_FOLDERS, *INTO_FILES])
def test_a_folder_without_permission_is_refused_before_the_work(here, verb, monkeypatch):
    # Permissions do not hold for root: the system's answer is given in its place.
    touch, os_open = type(here).touch, os.open

    def refuse(path):
        if "closed" in str(path):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(here), "touch", lambda path, *given, **more: refuse(path) or touch(path, *given, **more))
    monkeypatch.setattr(os, "open", lambda path, *given, **more: refuse(path) or os_open(path, *given, **more))
    for place in ("closed", "closed/new") if verb in INTO_FOLDERS else ("closed/file", "closed/new/file"):
        result = call(*{**INTO_FOLDERS, **INTO_FILES}[verb], place)
        assert is_one_line(result)
        assert "cannot write there: Permission denied" in result.stderr
    assert not list((here / "closed").iterdir())


@pytest.mark.parametrize("place", ["x" * 300, "y/" * 3000, "file", "file/x", "loop", "nowhere"])
@pytest.mark.parametrize("verb", [("leaderboard",), ("report",), ("run",), ("evaluate",), ("doctor",)])
def test_a_source_that_cannot_be_read_is_one_line(here, verb, place):
    before = tree(here)
    more = ("--dataset", "images.npz", "--metrics", "fid") if verb == ("evaluate",) else ()
    result = call(*verb, place, *more)
    assert is_one_line(result), (result.output, result.exception)
    assert len(result.stderr) < 600
    assert tree(here) == before
