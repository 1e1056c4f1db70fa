"""Teachers that somebody else trained, through the whole house."""

import contextlib
import csv
import hashlib

import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from fewstep.bench.commands.main import main
from fewstep.bench.errors import TaskError
from fewstep.bench.plan import checkpoints
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.stages import sample, teacher
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.methods import solvers
from fewstep.methods.denoiser import from_function
from fewstep.methods.networks import edm_network
from fewstep.methods.paths import EDM
from fewstep.methods.published_networks import NETWORKS
from fewstep.methods.teachers.checkpoint import Checkpoint
from fewstep.methods.teachers.forms import miniature, writing
from fewstep.tests.bench.command_line import fewstep

CONFIG = {
    "precond": "EDMPrecond",
    "kwargs": {
        "img_resolution": 8, "img_channels": 1, "label_dim": 10, "model_type": "SongUNet", "model_channels": 8,
        "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "augment_dim": 9,
    },
}  # fmt: skip
SUITE = {
    "name": "theirs",
    "datasets": "digits",
    "teachers": {"name": "checkpoint", "file": "theirs.safetensors", "sigma_max": 40},
    "budgets": {"evaluations": 300},
    "nfe": 4,
    "samples": 50,
    "truth": {"samples": 2, "tolerance": 1e-2},
    "metrics": "rmse",
    "methods": [
        {"name": "dpmpp-2m"},
        {"name": "consistency", "options": {"batch": 8}},
        {"name": "bespoke", "options": {"trajectories": 2, "nodes": 5, "tolerance": 0.1, "batch": 4}},
        {"name": "boot", "nfe": 1, "options": {"batch": 4}},
    ],
    "device": "cpu",
}


def network():
    made = edm_network(CONFIG)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=rng))
    return made.eval()


def write(folder, **changes):
    """A suite and the network that it names; returns the suite's file."""
    Checkpoint(CONFIG, network().state_dict()).save(folder / "theirs.safetensors")
    (folder / "suite.yaml").write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return folder / "suite.yaml"


def fewstep_in(folder, *words):
    with contextlib.chdir(folder):
        return fewstep(*words)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("theirs")
    write(folder)
    result = fewstep_in(folder, "run", "suite.yaml", "--out", "out", "--workers", 2)
    assert result.returncode == 0, result.stderr
    return folder


def rows(folder):
    with (folder / "out" / "results.csv").open() as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def artifacts(folder, kind):
    store = Store(folder / "out" / "store")
    return [store.need(path.name) for path in sorted((folder / "out" / "store").glob(f"{kind}-*"))]


def test_solvers_students_and_learned_solvers_stand_on_it(ran):
    found = rows(ran)
    assert {name: row["status"] for name, row in found.items()} == {
        "dpmpp-2m": "done", "consistency": "done", "bespoke": "done", "boot": "done",
    }  # fmt: skip
    assert {row["teacher"] for row in found.values()} == {"theirs"}
    assert 0 < float(found["consistency"]["train_evaluations"]) <= 300


def test_its_samples_are_those_of_the_network_at_labels_in_the_datas_proportions(ran):
    made, path = network(), EDM(0.002, 40.0)
    (manifest,) = (a for a in artifacts(ran, "sample") if a.manifest["params"]["method"] == "dpmpp-2m")
    (kept,) = artifacts(ran, "teacher")
    ours = teacher.load({"teacher": kept})
    noise = sample.start_noise(0, range(50), (1, 8, 8))
    labels = ours.conditions(0, "label", range(50))
    assert labels is not None
    start = sample.start_labels(ours, 0, range(50))
    theirs = from_function(lambda x, t: made(x, t.expand(len(x)), torch.eye(10)[start]), path)
    expected = solvers.get("dpmpp-2m").sample(theirs, noise, nfe=4)
    found = load_file(next(manifest.folder.glob("*.safetensors")))["x0"]
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-4)


def test_the_unit_of_cost_is_a_forward_of_its_network(ran):
    from fewstep.bench.training.ledger import forward_flops

    (kept,) = artifacts(ran, "teacher")
    assert kept.result["flops_per_evaluation"] == forward_flops(
        teacher.load({"teacher": kept}), torch.randn(2, 1, 8, 8)
    )
    assert kept.result["parameters"] == sum(p.numel() for p in network().parameters())


def test_the_store_answers_when_the_file_has_moved_and_not_when_it_has_changed(ran, tmp_path):
    suite = write(tmp_path)
    (tmp_path / "out").symlink_to(ran / "out")
    again = fewstep_in(tmp_path, "run", suite.name, "--out", "out", "--dry-run")
    assert "13 tasks, 0 to do" in again.stdout
    changed = Checkpoint(CONFIG, {k: v + 1e-3 for k, v in network().state_dict().items()})
    changed.save(tmp_path / "theirs.safetensors")
    assert "13 tasks, 13 to do" in fewstep_in(tmp_path, "run", suite.name, "--out", "out", "--dry-run").stdout


def test_a_file_that_changes_between_plan_and_work_is_not_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = make_plan(load(str(write(tmp_path))))
    task = next(task for task in plan.tasks() if task.kind == "teacher")
    (tmp_path / "theirs.safetensors").write_bytes(b"another")

    class Context:
        params, folder = task.params, tmp_path

    with pytest.raises(TaskError, match="has changed since this run was planned; run it again"):
        teacher.run(Context())


def test_a_network_without_its_tensors_is_a_reason_and_no_traceback(tmp_path):
    suite = write(tmp_path, datasets="mixture-8x8", methods=[{"name": "euler"}], nfe=2)
    Checkpoint({**CONFIG, "kwargs": {**CONFIG["kwargs"], "label_dim": 10}}, {}).save(tmp_path / "theirs.safetensors")
    result = fewstep_in(tmp_path, "run", suite.name, "--out", "out", "--workers", 1)
    assert result.returncode == 1
    assert "theirs.safetensors: not a network in EDM's form" in rows(tmp_path)["euler"]["status"]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"teachers": {"name": "checkpoint", "file": "edm-cifar10-32x32-uncnd-vp"}},
            "no file edm-cifar10-32x32-uncnd-vp, and no known network of that name; "
            "did you mean 'edm-cifar10-32x32-uncond-vp'?",
        ),
        ({"datasets": "mixture-2d"}, "its network is one of images, and mixture-2d's samples have shape (2,)"),
        (
            {"budgets": {"teacher": 0.1}, "methods": ["consistency"]},
            "in shares of the teacher's training, and the suite does not train 'checkpoint'",
        ),
        ({"teachers": {"name": "checkpoint"}}, "file"),
    ],
)
def test_a_wrong_checkpoint_in_a_suite_is_one_line(tmp_path, monkeypatch, changes, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["run", str(write(tmp_path, **changes)), "--dry-run"])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A suite on EDM's CIFAR-10 network, its file not there."""
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    name = "edm-cifar10-32x32-uncond-vp"
    suite = write(tmp_path, datasets="cifar10", teachers=name, methods=["euler"])
    return suite, f"checkpoints/{name}.pkl", tmp_path / "weights" / "checkpoints" / f"{name}.pkl"


def test_a_known_network_that_is_not_here_skips_its_cells_with_the_command(known, tmp_path):
    suite, name, path = known
    (cell,) = make_plan(load(str(suite))).cells
    url = "https://nvlabs-fi-cdn.nvidia.com/edm/pretrained/edm-cifar10-32x32-uncond-vp.pkl"
    assert str(cell.skipped) == f"skipped: missing {path}, get it by `curl -fL --create-dirs -o {path} {url}`"
    assert cell.teacher == "edm-cifar10-32x32-uncond-vp"
    result = CliRunner().invoke(main, ["doctor", str(suite)])
    assert result.exit_code == 1
    (line,) = (line for line in result.output.splitlines() if line.startswith(f"file {name}: missing"))
    assert "about 223 MB; licence: CC BY-NC-SA 4.0; for a teacher on cifar10" in line


def test_a_known_network_that_is_here_is_used_wherever_the_weights_lie(known, monkeypatch, tmp_path):
    suite, name, path = known
    path.parent.mkdir(parents=True)
    writing.write(path, miniature.settings(NETWORKS[path.stem], 32), seed=0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    keys = [make_plan(load(str(suite))).cells[0].score.key]
    path.parent.parent.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "elsewhere"))
    keys.append(make_plan(load(str(suite))).cells[0].score.key)
    assert keys[0] == keys[1]
    (options,) = load(str(suite)).teachers
    assert checkpoints.checkpoint(options) == {"sha256": digest}
    result = CliRunner().invoke(main, ["doctor", str(suite)])
    assert f"file {name}: present ({tmp_path / 'elsewhere' / name}" in result.output
    (tmp_path / "elsewhere" / name).write_bytes(b"\x80\x04N")
    result = CliRunner().invoke(main, ["doctor", str(suite)])
    assert (result.exit_code, f"file {name}: cut short" in result.output) == (1, True)


def test_a_file_that_is_given_by_its_path_is_listed_with_its_size(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["doctor", str(write(tmp_path))])
    size = (tmp_path / "theirs.safetensors").stat().st_size / 1e6
    assert f"file {tmp_path / 'theirs.safetensors'}: present ({size:.3g} MB)" in result.output
    assert result.exit_code == 0


def test_the_kinds_of_teachers_are_listed():
    assert "checkpoint" in CliRunner().invoke(main, ["list", "teachers"]).output
