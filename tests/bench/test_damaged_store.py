"""A store that was edited, cut or mixed up: built again, or one line that says where, never a traceback."""

import json
import os
import shutil

import pytest

from fewstep.bench.store import MANIFEST, CorruptError, Store, _digest
from fewstep.bench.training.tracking import EVENTS, read_events
from fewstep.tests.bench.in_process import call, in_process, is_one_line, run_in_process, table, write_suite

__all__ = ["in_process"]

KINDS = ("teacher", "train", "sample", "score")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(a suite, the folder of its run): a student that is trained in a second."""
    folder = tmp_path_factory.mktemp("whole")
    student = {"name": "consistency", "options": {"batch": 16}}
    suite = write_suite(
        folder, teachers={"name": "pretrain", "images": 640, "network": {"name": "mlp"}}, methods=[student], nfe=[1]
    )
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        result = call("run", suite, "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return suite, folder / "run"


@pytest.fixture
def run(whole, tmp_path):
    """(the suite, a copy of the run to damage)."""
    return whole[0], shutil.copytree(whole[1], tmp_path / "run")


def artifact(out, kind):
    return next((out / "store").glob(f"{kind}-*"))


def sealed(change):
    """A damage that is consistent with the manifest's own digest, as a program that writes manifests would leave it."""

    def damage(folder):
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest.pop("digest")
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps({**manifest, "digest": _digest(manifest)}))

    return damage


def text(content):
    return lambda folder: (folder / MANIFEST).write_bytes(content)


def a_folder_as_manifest(folder):
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).mkdir()


def a_file_as_artifact(folder):
    shutil.rmtree(folder)
    folder.write_text("")


def a_link_to_nothing(folder):
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


DAMAGES = {
    "empty": text(b""),
    "cut": lambda folder: os.truncate(folder / MANIFEST, 60),
    "list": text(b"[]"),
    "number": text(b"3"),
    "null": text(b"null"),
    "text": text(b'"digest"'),
    "other bytes": text(bytes(range(256))),
    "UTF-16": lambda folder: (folder / MANIFEST).write_text((folder / MANIFEST).read_text(), encoding="utf-16"),
    "deep": text(b"[" * 200_000),
    "long": text(b'{"digest": ' + b"1" * 10_000 + b"}"),
    "twice": lambda folder: (folder / MANIFEST).write_text((folder / MANIFEST).read_text() * 2),
    "no digest": text(b"{}"),
    "files a list": sealed(lambda manifest: manifest.update(files=["x"])),
    "files null": sealed(lambda manifest: manifest.update(files=None)),
    "a file of no size": sealed(lambda manifest: manifest["files"].update(x={})),
    "no kind": sealed(lambda manifest: manifest.pop("kind")),
    "other name": sealed(lambda manifest: manifest.update(key="0" * 16)),
    "a folder as manifest": a_folder_as_manifest,
    "a file as artifact": a_file_as_artifact,
    "a link to nothing": a_link_to_nothing,
}


OFTEN = ("list", "files null", "a folder as manifest", "a file as artifact")


def mostly_slow(names, often):
    return [name if name in often else pytest.param(name, marks=pytest.mark.slow) for name in names]


def test_a_damaged_manifest_is_corrupt_and_set_aside(run):
    _, out = run
    store = Store(out / "store")
    for name, damage in DAMAGES.items():
        folder = artifact(out, "score")
        kept = shutil.copytree(folder, out / "kept")
        damage(folder)
        with pytest.raises(CorruptError, match=folder.name):
            store.get(folder.name)
        assert store.sound(folder.name) is None, name
        assert not os.path.lexists(folder)
        kept.rename(folder)
    assert len(list((out / "store" / ".corrupt").iterdir())) == len(DAMAGES)


@pytest.mark.parametrize("name", mostly_slow(DAMAGES, OFTEN))
def test_a_damaged_artifact_is_named_by_those_who_read_and_made_again_by_run(run, tmp_path, in_process, name):
    suite, out = run
    before = table(out)
    kind = KINDS[list(DAMAGES).index(name) % len(KINDS)]
    folder = artifact(out, kind)
    DAMAGES[name](folder)
    for verb in ("sample", "export"):
        result = call(verb, out, "--method", "consistency", "--nfe", 1, "--out", tmp_path / "file")
        assert result.exit_code == 0 or is_one_line(result), (verb, result.output, result.exception)
        assert result.exit_code == 0 or folder.name in result.stderr
    assert call("run", suite, "--out", out, "--dry-run").exit_code == 0
    again = call("run", suite, "--out", out)
    assert again.exit_code == 0, (again.output, again.exception)
    assert table(out) == before


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("damage", mostly_slow(["cut", "flipped", "gone", "folder"], ["folder"]))
def test_a_damaged_file_is_named_by_those_who_read_and_made_again_by_run(run, tmp_path, in_process, kind, damage):
    suite, out = run
    before = table(out)
    folder = artifact(out, kind)
    file = next(iter(sorted(folder.glob("*.safetensors"))), None)
    if file is None:
        pytest.skip(f"a {kind} of this suite has no file")
    data = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage != "gone":
        file.write_bytes(data[:-9] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    for verb in ("sample", "export"):
        result = call(verb, out, "--method", "consistency", "--nfe", 1, "--out", tmp_path / "file")
        assert result.exit_code == 0 or is_one_line(result), (verb, result.output, result.exception)
    again = call("run", suite, "--out", out)
    assert again.exit_code == 0, (again.output, again.exception)
    assert table(out) == before


@pytest.mark.parametrize("part", ["params", "result"])
@pytest.mark.parametrize("verb", ["sample", "export"])
def test_artifacts_of_a_version_with_other_fields_are_one_line(run, tmp_path, part, verb):
    _, out = run
    for kind in ("sample", "teacher"):
        sealed(lambda manifest: manifest.update({part: {"other": 1}}))(artifact(out, kind))
    result = call(verb, out, "--method", "consistency", "--nfe", 1, "--out", tmp_path / "file")
    assert result.exit_code == 0 or is_one_line(result), (result.output, result.exception)
    if part == "params":
        assert "is of another version of fewstep" in result.stderr


@pytest.mark.parametrize("field", ["ended", "question", "torch", "sources"])
def test_a_manifest_of_another_form_is_passed_over_by_a_dry_run(run, field):
    suite, out = run
    others = [
        folder.rename(folder.with_name(f"{kind}-{'f' * 16}")) for kind in KINDS if (folder := artifact(out, kind))
    ]
    for value in (None, "x", -1, [], {}, {"x": []}):
        for folder in others:
            sealed(lambda manifest: manifest.update({field: value}))(folder)  # noqa: B023
        assert call("run", suite, "--out", out, "--dry-run").exit_code == 0


def test_of_a_damaged_record_the_sound_rows_are_read(tmp_path):
    rows = [b'{"step": 2, "loss": 1.0}', b'{"step": 1}\r', b"3", b"[]", b"{}", b'{"step": "x"}', b'{"step": null}']
    rows += [b"\xff\xfe", b"\0", b"[" * 100_000, b'{"step": 2, "loss": 0.5}', b'{"step": 3, "lo']
    (tmp_path / EVENTS).write_bytes(b"\n".join(rows))
    assert read_events(tmp_path) == [{"step": 1}, {"step": 2, "loss": 0.5}]
