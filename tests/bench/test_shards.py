"""Samples in files of fixed row ranges: a task that was killed makes only what is missing, and slices are read back."""

import json
import os
import signal
import sys

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.kept import LARGE, in_8_bits
from fewstep.bench.plan.kinds import Sampled, SampleParams
from fewstep.bench.run import worker
from fewstep.bench.stages import sample, shards
from fewstep.bench.store import CorruptError, Store
from fewstep.bench.suite.loading import load
from fewstep.datasets.registry import DATASETS
from fewstep.methods import ranks
from fewstep.tests.bench.in_process import SUITE, write_suite

COUNT, ROWS = 50, 8
FILES = 7


@pytest.fixture(autouse=True)
def short_files(monkeypatch):
    monkeypatch.setattr(shards, "ROWS", ROWS)


def values(rows):
    return torch.arange(rows.start, rows.stop, dtype=torch.float32)[:, None] * torch.tensor([1.0, -0.5, 0.25])


class Maker:
    """Makes batches, counts them, and does `then` before the one of number `at`."""

    def __init__(self, at=0, then=None):
        self.at, self.then, self.made = at, then, []

    def __call__(self, rows):
        self.made.append(rows)
        if len(self.made) == self.at:
            self.then()
        return shards.Batch({"x0": values(rows)}, {"evaluations": 2 * len(rows)})


def write(folder, make, size=4):
    return shards.write(folder, "samples", COUNT, (3,), size, make, lambda share: None)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def forked(body):
    """Do it in a process that may be killed; how it ended."""
    child = os.fork()
    if child == 0:
        try:
            body()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def half_written(monkeypatch, at):
    """The process is killed in the middle of the file of number `at`."""
    saved, real = [], shards.save_file

    def save(arrays, path):
        real(arrays, path)
        saved.append(path)
        if len(saved) == at:
            os.truncate(path, path.stat().st_size // 2)
            kill()

    monkeypatch.setattr(shards, "save_file", save)


@pytest.fixture
def whole(tmp_path):
    """(files, costs) of an attempt that nothing interrupted."""
    folder = tmp_path / "whole"
    folder.mkdir()
    return write(folder, Maker()), contents(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="kills a forked process")
@pytest.mark.parametrize("where", ["made", "written"])
@pytest.mark.parametrize("file", range(1, FILES + 1))
def test_after_a_kill_at_any_file_the_bytes_are_those_of_an_uninterrupted_attempt(
    tmp_path, monkeypatch, whole, file, where
):
    costs, files = whole
    first = Maker(2 * file - 1, kill) if where == "made" else Maker()
    with monkeypatch.context() as patch:
        if where == "written":
            half_written(patch, file)
        assert forked(lambda: write(tmp_path, first)) == signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    assert len(before) == file - 1
    second = Maker()
    assert write(tmp_path, second) == costs
    assert contents(tmp_path) == files
    assert second.made[0].start == (file - 1) * ROWS
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


@pytest.mark.parametrize("damage", ["cut", "no line", "half a line"])
def test_a_file_that_is_not_whole_or_not_accounted_for_is_made_again(tmp_path, whole, damage):
    costs, files = whole
    write(tmp_path, Maker())
    name, journal = "samples-00003-of-00007.safetensors", tmp_path / shards.JOURNAL
    if damage == "cut":
        os.truncate(tmp_path / name, 100)
    else:
        lines = journal.read_text().splitlines(keepends=True)
        lines[3] = "" if damage == "no line" else lines[3][:20] + "\n"
        journal.write_text("".join(lines))
    again = Maker()
    assert write(tmp_path, again) == costs
    assert [rows.start for rows in again.made] == [24, 28]
    assert contents(tmp_path) == files


def test_a_full_disk_leaves_no_file_that_is_not_whole(tmp_path, monkeypatch, whole):
    _, files = whole
    real, saved = shards.save_file, []

    def save(arrays, path):
        saved.append(path)
        if len(saved) == 3:
            path.write_bytes(b"half")
            raise SafetensorError("No space left on device")
        real(arrays, path)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "save_file", save)
        with pytest.raises(SafetensorError):
            write(tmp_path, Maker())
    assert sorted(contents(tmp_path)) == sorted(files)[:2]
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {*sorted(files)[:2], shards.JOURNAL}
    write(tmp_path, Maker())
    assert contents(tmp_path) == files


@pytest.mark.parametrize("size", [1, 3, 8, 256])
def test_files_do_not_depend_on_the_batch_size(tmp_path, whole, size):
    write(tmp_path, Maker(), size)
    assert contents(tmp_path) == whole[1]


def test_few_samples_lie_in_one_file_and_its_rows_are_a_power_of_two_of_large_ones(tmp_path):
    shards.write(tmp_path, "samples", ROWS, (3,), 256, Maker(), lambda share: None)
    assert [path.name for path in tmp_path.iterdir()] == ["samples.safetensors"]
    ranges = shards._ranges(100, (3, 1024, 1024))
    assert {len(rows) for rows in ranges} == {4}


def committed(folder, make):
    store = Store(folder / "store")
    with store.work("sample-abc") as work:
        make(work)
        store.commit({"kind": "sample", "key": "abc", "params": {}}, work, {}, {})
    return store.get("sample-abc")


def test_slices_are_those_of_the_whole(tmp_path):
    made = committed(tmp_path, lambda folder: write(folder, Maker()))
    rows, x0 = shards.Shards(made, "samples", "x0", COUNT), values(range(COUNT))
    assert len(rows) == COUNT
    assert torch.equal(rows[:], x0)
    for first, last in ((0, 0), (0, 1), (7, 9), (8, 16), (3, 41), (48, 60), (50, 50)):
        assert torch.equal(rows[first:last], x0[first:last])
    doubled = shards.Mapped(rows, lambda part: 2 * part)
    assert torch.equal(doubled[5:30], 2 * x0[5:30])


def test_a_file_is_checked_when_it_is_read(tmp_path):
    made = committed(tmp_path, lambda folder: write(folder, Maker()))
    rows = shards.Shards(made, "samples", "x0", COUNT)
    file = made.folder / "samples-00002-of-00007.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert torch.equal(rows[:16], values(range(16)))
    with pytest.raises(CorruptError, match="00002-of-00007"):
        rows[10:20]


def test_only_the_files_of_a_slice_are_read(tmp_path, monkeypatch):
    made = committed(tmp_path, lambda folder: write(folder, Maker()))
    rows, opened = shards.Shards(made, "samples", "x0", COUNT), []
    monkeypatch.setattr(shards, "safe_open", lambda path, framework: opened.append(path.name) or safe_open(path, "pt"))
    rows[17:30]
    assert opened == ["samples-00002-of-00007.safetensors", "samples-00003-of-00007.safetensors"]


@pytest.mark.skipif(sys.platform == "win32", reason="kills a forked process")
def test_a_sampling_task_that_was_killed_answers_as_one_that_was_not(tmp_path, monkeypatch):
    plan = make_plan(load(str(write_suite(tmp_path, samples=20))))
    tasks = [task for task in plan.tasks() if task.kind in ("teacher", "sample")]
    answers = []
    for name in ("whole", "killed"):
        store = Store(tmp_path / name)
        store.prepare()
        assert worker.execute(tasks[0].to_json(), store) == ("done", None)
        if name == "killed":
            with monkeypatch.context() as patch:
                half_written(patch, 3)
                assert forked(lambda: worker.execute(tasks[1].to_json(), store)) == signal.SIGKILL  # noqa: B023
        assert worker.execute(tasks[1].to_json(), store) == ("done", None)
        made = store.get(tasks[1].name)
        answers.append((made.answer(Sampled).model_copy(update={"seconds_per_image": 0.0}), made.manifest["files"]))
        assert made.answer(Sampled).seconds_per_image > 0
        assert not list(made.folder.glob(".*"))
    assert answers[0] == answers[1]
    assert len(answers[0][1]) == 3


def test_8_bits_are_kept_of_images_alone_and_where_float32_would_be_large():
    large = LARGE // (4 * 3 * 64 * 64)
    assert in_8_bits(DATASETS["imagenet64-uncond"], large + 1, latent=False)
    assert not in_8_bits(DATASETS["imagenet64-uncond"], large, latent=False)
    assert not in_8_bits(DATASETS["imagenet64-uncond"], 50_000, latent=True)
    assert not in_8_bits(DATASETS["cifar10"], 50_000, latent=False)
    for name in ("mixture-2d", "mixture-8x8"):
        assert not in_8_bits(DATASETS[name], 10**9, latent=False)


def digits(folder, **changes):
    suite = {**SUITE, "datasets": "digits", "teachers": {"name": "exact", "bandwidth": 0.1}, "samples": 20}
    file = folder / "digits.yaml"
    file.write_text(json.dumps({**suite, "metrics": ["rmse", "fd_digits"], **changes}))
    return make_plan(load(str(file)))


def test_what_is_kept_in_8_bits_answers_for_its_rounding_alone(tmp_path, monkeypatch):
    keys = {}
    for large in (False, True):
        monkeypatch.setattr("fewstep.bench.plan.kept.LARGE", 100 if large else LARGE)
        for changes in ({}, {"metrics": "rmse"}, {"rounding": "truncate"}):
            made = next(task for task in digits(tmp_path, **changes).tasks() if task.kind == "sample")
            keys.setdefault((large, changes.get("rounding")), set()).add(made.name)
    assert all(len(names) == 1 for names in keys.values())
    assert keys[False, None] == keys[False, "truncate"]
    assert len({next(iter(names)) for names in keys.values()}) == 3


def test_8_bits_and_the_first_floats_give_the_scores_of_the_same_samples(tmp_path, monkeypatch):
    found = {}
    for large in (False, True):
        monkeypatch.setattr("fewstep.bench.plan.kept.LARGE", 100 if large else LARGE)
        plan, store = digits(tmp_path), Store(tmp_path / "store")
        store.prepare()
        for task in plan.tasks():
            assert worker.execute(task.to_json(), store) == ("done", None), task.label
        (cell,) = plan.cells
        made = store.get(cell.score.inputs["sample"].name)
        found[large] = (store.get(cell.score.name).result["metrics"], made)
    (exact, of_floats), (coarse, of_bytes) = found[False], found[True]
    assert coarse["rmse"] == exact["rmse"]
    assert coarse["fd_digits"]["value"] == pytest.approx(exact["fd_digits"]["value"], rel=0.05)
    assert coarse["fd_digits"]["protocol"] == exact["fd_digits"]["protocol"].replace("/float/", "/round/")
    assert of_bytes.asked(SampleParams).exact == 4
    x0 = sample.load(of_floats)[:]
    assert torch.equal(sample.rounded(of_bytes)[:], (x0 * 127.5 + 128).clamp(0, 255).to(torch.uint8))
    assert torch.equal(sample.load(of_bytes)[:], x0[:4])
    arrays = [set(load_file(of_bytes.file(name))) for name in sorted(of_bytes.manifest["files"])]
    assert arrays == [{"x0", "x8"}, {"x8"}, {"x8"}]


def as_rank(monkeypatch, rank, meeting):
    """As if two processes made samples together and this were one of them; `meeting` is called where they wait."""
    monkeypatch.setattr(ranks, "_joined", [ranks.Ranks(rank, 2)])
    monkeypatch.setattr(ranks.dist, "barrier", meeting)


def test_processes_make_every_other_file_and_the_bytes_are_those_of_one(tmp_path, monkeypatch):
    """And each knows what all have taken."""
    for name in ("alone", "both"):
        (tmp_path / name).mkdir()
    alone = Maker()
    took = write(tmp_path / "alone", alone)
    first, second = Maker(), Maker()

    def other():
        as_rank(monkeypatch, 1, lambda: None)
        assert write(tmp_path / "both", second) == took
        monkeypatch.setattr(ranks, "_joined", [ranks.Ranks(0, 2)])

    as_rank(monkeypatch, 0, other)
    assert write(tmp_path / "both", first) == took
    assert contents(tmp_path / "both") == contents(tmp_path / "alone")
    assert not set(first.made) & set(second.made)
    assert sorted([*first.made, *second.made], key=lambda rows: rows.start) == alone.made


def test_what_another_process_could_not_make_is_made_by_the_first(tmp_path, monkeypatch):
    """So that its reason is told where the answer is given."""

    def refuse():
        raise sample.Diverged

    def other():
        as_rank(monkeypatch, 1, lambda: None)
        with pytest.raises(sample.Diverged):
            write(tmp_path, Maker(at=1, then=refuse))
        monkeypatch.setattr(ranks, "_joined", [ranks.Ranks(0, 2)])

    as_rank(monkeypatch, 0, other)
    first = Maker()
    write(tmp_path, first)
    assert sum(map(len, first.made)) == COUNT
