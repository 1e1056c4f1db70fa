"""The store: whole artifacts or none, one worker per task, corruption found and set aside."""

import json
import logging
import os
import subprocess
import sys

import pytest

from fewstep.bench.errors import InputError
from fewstep.bench.store import ALWAYS_HASHED, BusyError, CorruptError, Store

TASK = {"kind": "train", "key": "0123456789abcdef", "params": {}, "inputs": {}, "label": "a task"}
NAME = "train-0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def commit(store, content=b"weights"):
    with store.work(NAME) as folder:
        (folder / "weights.bin").write_bytes(content)
        store.commit(TASK, folder, {"status": "done", "value": 0.1}, {"started": 0.0})


def test_a_committed_artifact_comes_back_whole(store):
    assert store.get(NAME) is None
    commit(store)
    artifact = store.get(NAME)
    assert artifact.result == {"status": "done", "value": 0.1}
    assert artifact.file("weights.bin").read_bytes() == b"weights"
    assert not (store.root / ".work" / NAME).exists()


def test_work_under_way_is_not_an_artifact_and_is_kept(store):
    with store.work(NAME) as folder:
        (folder / "last.ckpt").write_bytes(b"half")
    assert store.get(NAME) is None
    with store.work(NAME) as folder:
        assert (folder / "last.ckpt").read_bytes() == b"half"


def test_what_is_empty_does_not_stay_behind(store):
    commit(store)
    with store.work("sample-of-another-run"):
        store.tidy()
        assert [path.name for path in (store.root / ".locks").iterdir()] == ["sample-of-another-run.lock"]
        with pytest.raises(BusyError), store.work("sample-of-another-run"):
            pass
    store.tidy()
    assert [path.name for path in store.root.iterdir()] == [NAME]


def test_work_that_failed_stays_for_the_next_attempt(store):
    with store.work(NAME) as folder:
        (folder / "log.txt").write_bytes(b"why")
    store.tidy()
    assert (store.root / ".work" / NAME / "log.txt").exists()


def truncate(store):
    (store.root / NAME / "weights.bin").write_bytes(b"we")


def flip(store):
    (store.root / NAME / "weights.bin").write_bytes(b"weighty")


def remove(store):
    (store.root / NAME / "weights.bin").unlink()


def edit_manifest(store):
    file = store.root / NAME / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["result"]["value"] = 0.0
    file.write_text(json.dumps(manifest))


def cut_manifest(store):
    file = store.root / NAME / "manifest.json"
    file.write_text(file.read_text()[:40])


def remove_manifest(store):
    (store.root / NAME / "manifest.json").unlink()


def move(store):
    os.rename(store.root / NAME, store.root / "train-ffffffffffffffff")
    os.rename(store.root / "train-ffffffffffffffff", store.root / NAME)
    file = store.root / NAME / "manifest.json"
    file.write_text(file.read_text().replace("0123456789abcdef", "0000000000000000"))


@pytest.mark.parametrize("damage", [truncate, flip, remove, edit_manifest, cut_manifest, remove_manifest, move])
def test_a_corrupt_artifact_is_set_aside_with_a_warning(store, damage, caplog):
    commit(store)
    damage(store)
    with pytest.raises(CorruptError):
        store.get(NAME)
    with caplog.at_level(logging.WARNING):
        assert store.sound(NAME) is None
    assert "corrupt artifact" in caplog.text
    assert len(list((store.root / ".corrupt").iterdir())) == 1
    commit(store)
    assert store.sound(NAME) is not None


def test_large_files_are_hashed_when_they_are_read(store):
    commit(store, b"0" * (ALWAYS_HASHED + 1))
    with (store.root / NAME / "weights.bin").open("r+b") as file:
        file.write(b"1")
    artifact = store.get(NAME)
    with pytest.raises(CorruptError, match="another content"):
        artifact.file("weights.bin")


def test_a_task_is_worked_on_by_one_process(store):
    with store.work(NAME):
        code = (
            "from pathlib import Path; from fewstep.bench.store import BusyError, Store\n"
            f"try:\n  with Store(Path({str(store.root)!r})).work({NAME!r}): pass\n"
            "except BusyError: print('busy')"
        )
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "busy"
    with store.work(NAME):
        pass


def test_a_second_claim_in_one_process_is_busy_too(store):
    with store.work(NAME), pytest.raises(BusyError), store.work(NAME):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_an_input_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write there"):
        Store(tmp_path / "store").prepare()


def test_a_file_in_the_way_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write there"):
        Store(tmp_path / "file" / "store").prepare()
