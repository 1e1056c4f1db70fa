"""`problems:` pairs data sets and teachers; a cell needs what it reads, and no more."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from fewstep.bench.errors import InputError
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.kinds import TeacherParams
from fewstep.bench.stages import reference as reference_stage
from fewstep.bench.suite import short_forms
from fewstep.bench.suite.loading import SHIPPED, checked, load
from fewstep.bench.suite.writing import dump
from fewstep.datasets.registry import DATASETS, SCENES
from fewstep.methods.networks import edm_network
from fewstep.methods.randomness import categories
from fewstep.methods.registry import METHODS, data_free
from fewstep.methods.teachers.checkpoint import Checkpoint
from fewstep.reports.status import Kind

from . import stand_ins
from .in_process import call, run_in_process

PAPERS = SHIPPED / "papers"
CELLS = {
    "bespoke-ablations": 29,
    "bespoke-fig4": 22,
    "bespoke-table1": 16,
    "bespoke-table2": 21,
    "bespoke-table3": 62,
    "bespoke-transfer": 6,
    "boot-t2i": 16,
    "boot-table1": 48,
    "boot-table2": 12,
    "cm-table1": 13,
    "cm-table2-bedroom": 5,
    "cm-table2-cat": 4,
    "cm-table2-eval": 57,
    "cm-table2-imagenet": 5,
    "ddim-table1": 75,
    "ddim-table1-celeba": 75,
    "deis-table2": 150,
    "diffsampler-edm": 168,
    "dode-ablation": 21,
    "dode-data": 200,
    "dode-noise": 240,
    "dode-noise-128": 60,
    "dode-noise-256": 60,
    "dode-noise-512": 60,
    "dode-noise-lsun": 120,
    "dpmsolver-discrete": 8,
    "dpmsolver-table1": 24,
    "dpmsolver-table3": 9,
    "ect-cifar10": 8,
    "edm-table2": 24,
    "edm-table2-64": 24,
    "edm-table3": 54,
    "edm-table4": 27,
    "ict-table2": 3,
    "ict-table3": 3,
    "iia-table": 180,
    "pd-table1": 6,
    "pd-table2": 8,
    "sim-cifar10": 14,
    "sim-robust": 10,
    "sim-t2i": 13,
    "tract-ablation": 13,
    "tract-edm": 6,
    "tract-main": 6,
    "unipc-tables": 23,
}
UNCOND, COND = "edm-cifar10-32x32-uncond-vp", "edm-cifar10-32x32-cond-vp"
SUITE = {
    "name": "paired",
    "problems": [
        {"dataset": "mixture-2d", "teacher": "exact"},
        {"dataset": "mixture-8x8", "teacher": {"name": "exact", "label": "theirs"}},
    ],
    "nfe": [2, 4],
    "samples": 12,
    "truth": {"samples": 4},
    "metrics": "rmse",
    "device": "cpu",
    "methods": ["euler", "heun"],
}


def suite(**changes):
    content = {**SUITE, **changes}
    return checked("s.yaml", yaml.safe_dump({key: value for key, value in content.items() if value is not None}))


def refusal(**changes):
    with pytest.raises(InputError) as error:
        suite(**changes)
    return str(error.value)


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CELLS)
def test_a_suite_of_a_paper_is_planned_without_any_file(nothing_here, name):
    plan = make_plan(load(f"papers/{name}"))
    assert len(plan.cells) == CELLS[name]
    assert {cell.skipped.kind for cell in plan.cells} == {Kind.LACKING}
    assert plan.tasks() == []


def test_problems_are_not_multiplied():
    cells = make_plan(suite()).cells
    assert len(cells) == 2 * 2 * 2
    assert {(cell.dataset, cell.teacher) for cell in cells} == {("mixture-2d", "exact"), ("mixture-8x8", "theirs")}


def test_a_product_is_the_same_written_as_problems():
    product = suite(problems=None, datasets=["mixture-2d", "mixture-8x8"], teachers="exact")
    listed = suite(problems=[{"dataset": name, "teacher": "exact"} for name in ("mixture-2d", "mixture-8x8")])
    assert [cell.id for cell in make_plan(product).cells] == [cell.id for cell in make_plan(listed).cells]


def test_a_suite_with_problems_is_written_as_it_was_read():
    known = suite()
    assert checked("s.yaml", dump(known)) == known


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": "digits"}, "datasets: a suite has problems, or datasets and teachers"),
        ({"problems": None, "datasets": "digits"}, "'teachers' is missing"),
        ({"problems": None}, "'datasets' is missing"),
        ({"problems": SUITE["problems"][:1] * 2}, "problems[1]: 'exact' on mixture-2d appears twice"),
        ({"problems": [{"dataset": "digits"}]}, "problems[0]: 'teacher' is missing"),
        (
            {"problems": [{"dataset": "ffhq64", "teacher": UNCOND}]},
            f"problems[0].teacher.file: {UNCOND} makes images of shape (3, 32, 32), and ffhq64's have (3, 64, 64)",
        ),
        (
            {"problems": [{"dataset": "imagenet64-uncond", "teacher": "edm-imagenet-64x64-cond-adm"}]},
            "was trained on 1000 classes, and imagenet64-uncond has no labels",
        ),
        (
            {"problems": [{"dataset": "imagenet64-edm", "teacher": "64x64_classifier"}]},
            "64x64_classifier is a classifier of noisy images, not a teacher",
        ),
        (
            {"problems": [{"dataset": "imagenet64-edm", "teacher": "cd_imagenet64_l2"}]},
            "cd_imagenet64_l2 is a student of few steps",
        ),
        (
            {"methods": [{"name": "euler", "options": {"grid": {"spacing": "ddim-uniform"}}}]},
            "grid.spacing: ddim-uniform is a grid of labels of a discrete path",
        ),
        ({"methods": [{"name": "heun", "nfe": [2, 4]}]}, "heun reaches none of these NFEs"),
    ],
)
def test_a_problem_that_cannot_be_run_is_refused_with_its_line(changes, message):
    refused = refusal(**changes)
    assert message in refused
    assert "\n" not in refused


def test_grids_of_labels_are_for_networks_that_were_trained_on_labels(nothing_here):
    rows = [{"name": "euler", "options": {"grid": {"spacing": "ddim-uniform"}}}]
    problem = [{"dataset": "cifar10", "teacher": "ema_cifar10"}]
    assert suite(problems=problem, methods=rows)
    assert "which teacher" in refusal(problems=[{"dataset": "cifar10", "teacher": UNCOND}], methods=rows)
    for method, spacing, nfe, reason in (
        ("euler", "ddim-uniform", 1001, "1001 steps on a path of 1000 labels: take fewer"),
        ("dpmpp-2m", "ddim-quad", 50, "ddim-quad repeats a label at 50 steps: take fewer or ddim-uniform"),
        ("dpm-solver-2", "ddim-quad", 51, "ddim-quad repeats a label at 51 steps"),
        ("ddim", "respaced-ddim", 600, "no stride divides 1000 labels into 600 steps: take respaced, or other steps"),
    ):
        row = {"name": method, "options": {"grid": {"spacing": spacing}}}
        refused = refusal(problems=problem, methods=[row], nfe=[10, nfe])
        assert f"nfe: ema_cifar10 has 1000 labels: {reason}" in refused
    quadratic = [{"name": name, "options": {"grid": {"spacing": "ddim-quad"}}} for name in ("ddim", "euler", "ddpm")]
    assert suite(problems=problem, methods=quadratic, nfe=[10, 1000])
    assert "ema_cifar10 has not learned a variance" in refusal(
        problems=problem,
        methods=[{"name": "ddpm", "options": {"variance": "learned", "grid": {"spacing": "respaced"}}}],
    )


def test_a_grid_on_a_networks_own_flow_ends_above_noise_zero():
    problem = [{"dataset": "cifar10", "teacher": "otcfm_cifar10_weights_step_400000"}]
    row = {"name": "euler", "options": {"path": "trained"}}
    refused = refusal(problems=problem, methods=[row])
    assert "options.path: its flow goes down to noise level 0, which a karras grid cannot reach" in refused
    row["options"]["grid"] = {"spacing": "uniform"}
    assert suite(problems=problem, methods=[row])


def lacks(**changes):
    """What the cells lack: the archive or the network."""
    statuses = {str(cell.skipped) for cell in make_plan(suite(**changes)).cells}
    return {"archive" if "fewstep prepare" in status else "network" for status in statuses}


@pytest.mark.parametrize(
    ("teacher", "changes", "expected"),
    [
        (UNCOND, {}, {"network"}),
        (UNCOND, {"metrics": "fid", "references": {"fid": "cifar10-32x32"}}, {"network"}),
        (UNCOND, {"metrics": "fid"}, {"archive"}),
        (UNCOND, {"metrics": "kid"}, {"archive"}),
        (UNCOND, {"metrics": "fd_cifar10"}, {"archive"}),
        (UNCOND, {"metrics": "inception_recall"}, {"archive"}),
        (
            UNCOND,
            {"metrics": "inception_recall", "references": {"inception_recall": "VIRTUAL_lsun_cat256"}},
            {"network"},
        ),
        (UNCOND, {"methods": "bespoke", "budgets": {"evaluations": 1000}}, {"network"}),
        (UNCOND, {"methods": "sim", "nfe": 1, "budgets": {"evaluations": 1000}}, {"network"}),
        (UNCOND, {"methods": "consistency", "budgets": {"evaluations": 1000}}, {"archive"}),
        (COND, {}, {"archive"}),
        (COND, {"labels": "uniform"}, {"network"}),
        ({"name": "pretrain"}, {}, {"archive"}),
    ],
)
def test_images_are_needed_where_they_are_read(nothing_here, teacher, changes, expected):
    assert lacks(problems=[{"dataset": "cifar10", "teacher": teacher}], **{"methods": "euler", **changes}) == expected


def test_a_reference_file_of_adm_stands_in_for_the_rows_of_real_images(nothing_here, tmp_path, monkeypatch):
    """Its 10,000 images are read under the register's name, wherever the file lies."""
    images = stand_ins.images(6, side=8).permute(0, 2, 3, 1).numpy()
    folder = tmp_path / "weights" / "stats"
    folder.mkdir(parents=True)
    np.savez(folder / "VIRTUAL_lsun_cat256.npz", arr_0=images, mu=np.zeros(2048), sigma=np.eye(2048))
    (tmp_path / "weights" / "inception-2015-12-05-6726825d.pth").write_bytes(b"x")
    stand_ins.register(monkeypatch, tmp_path / "weights", "inception-2015-12-05-6726825d.pth")
    named = dict.fromkeys(["fid", "inception_recall", "inception_precision"], "VIRTUAL_lsun_cat256")
    changes = {"problems": SUITE["problems"][:1], "methods": "euler", "nfe": 2, "references": named}
    monkeypatch.setitem(DATASETS.entries, "mixture-2d", dataclasses.replace(DATASETS["mixture-2d"], metrics=SCENES))
    (cell,) = make_plan(suite(**changes, metrics=[*named, "rmse"])).cells
    reference = cell.score.inputs["reference inception-tf1"]
    assert reference.asked["images"] == "stats/VIRTUAL_lsun_cat256.npz"
    assert set(cell.score.asked["references"]) == {"fid"}
    found, count = reference_stage._images(reference.params)
    assert count == 6
    assert torch.equal(found(slice(0, 6)), stand_ins.images(6, side=8))


def test_rows_of_one_network_have_one_reference():
    problem = [{"dataset": "cifar10", "teacher": UNCOND}]
    metrics = {"metrics": ["inception_recall", "kid"]}
    said = refusal(problems=problem, references={"inception_recall": "VIRTUAL_lsun_cat256"}, **metrics)
    assert "references.inception_recall: " in said
    assert "name a reference for kid too" in said


def test_doctor_asks_for_no_archive_that_no_row_reads(nothing_here, tmp_path):
    result = call("doctor", PAPERS / "diffsampler-edm.yaml")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert [line.partition(":")[2] for line in lines if line.startswith("dataset ")] == [
        " not needed (no row of the suite reads its images)"
    ] * 3
    assert sum(line.startswith("file checkpoints/") for line in lines) == 3
    assert sum(line.startswith("file stats/") for line in lines) == 3


def test_a_dry_run_says_refusals_before_what_is_missing_and_how_many_cells_can_run(nothing_here, tmp_path):
    (tmp_path / "s.yaml").write_text(
        yaml.safe_dump({**SUITE, "problems": [SUITE["problems"][0], {"dataset": "cifar10", "teacher": UNCOND}]})
    )
    said = call("run", tmp_path / "s.yaml", "--dry-run").output.splitlines()
    at = next(i for i, line in enumerate(said) if line.endswith("cells can run here"))
    assert said[at] == "2 of 8 cells can run here"
    assert said[at + 1].startswith("  4 skipped: Heun takes two evaluations a step")
    assert said[at + 2].startswith(f"  2 skipped: missing {tmp_path}/weights/checkpoints/{UNCOND}.pkl")
    assert sum("heun" in line and "Heun takes" in line for line in said) == 4


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("edm:mine.pkl", {"name": "checkpoint", "form": "edm", "file": "mine.pkl"}),
        ("ddim:a/b.ckpt", {"name": "checkpoint", "form": "ddpm", "file": "a/b.ckpt"}),
        ("score-sde:x:y.pth", {"name": "checkpoint", "form": "score-sde", "file": "x:y.pth"}),
        ("module:mine.nets:make", {"name": "module", "target": "mine.nets:make"}),
        (UNCOND, {"name": "checkpoint", "file": UNCOND}),
        ("digits-unet-128k", {"name": "shipped", "file": "digits-unet-128k"}),
        ("pretrain", {"name": "pretrain"}),
        ({"name": "exact"}, {"name": "exact"}),
    ],
)
def test_a_word_stands_for_a_teacher(word, expected):
    assert short_forms.expanded(word) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("openia:x.pt", "did you mean 'openai'?, followed by a colon"),
        ("edm-cifar10-32x32-uncnd-vp", f"did you mean {UNCOND!r}?"),
        ("edm:", "edm: takes a file after the colon"),
    ],
)
def test_a_word_that_means_no_teacher_is_named(word, message):
    assert message in refusal(problems=[{"dataset": "cifar10", "teacher": word}])


CONFIG = {
    "precond": "EDMPrecond",
    "kwargs": {
        "img_resolution": 8, "img_channels": 3, "label_dim": 4, "model_type": "SongUNet", "model_channels": 8,
        "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [],
    },
}  # fmt: skip


@pytest.fixture
def unseen(nothing_here, tmp_path, monkeypatch):
    """A data set of which the register alone is here, and a network of it."""
    spec = dataclasses.replace(DATASETS["cifar10"], name="unseen", shape=(3, 8, 8), classes=4, archive="unseen.zip")
    monkeypatch.setitem(DATASETS.entries, "unseen", spec)
    torch.manual_seed(0)
    Checkpoint(CONFIG, edm_network(CONFIG).state_dict()).save(tmp_path / "theirs.safetensors")
    run_in_process(monkeypatch)
    return {"dataset": "unseen", "teacher": "theirs.safetensors"}


@pytest.mark.parametrize("some", [("bespoke", "d-ode", "sim"), pytest.param((), marks=pytest.mark.slow)])
def test_what_sees_no_image_runs_without_the_archive(unseen, tmp_path, some):
    """Every solver and student that the register calls free of data; where one looks at an image, that is NaN."""
    small = {
        "bespoke": {"trajectories": 2, "nodes": 5, "tolerance": 0.1},
        "knowledge": {"solver_nfe": 2},
        "rectified-flow": {"solver_nfe": 2},
    }
    free = [name for name, spec in METHODS.items() if spec.trains and data_free(spec)]
    assert {"bespoke", "sim", "d-ode", "dmd"} <= set(free)
    names = some or free
    rows = ["euler"]
    for name in names:
        known = METHODS[name].options.model_fields
        options = {key: value for key, value in {"batch": 2, **small.get(name, {})}.items() if key in known}
        nfe = next(nfe for nfe in (4, 5, 1) if METHODS[name].refusal(nfe) is None)
        rows.append({"name": name, "nfe": nfe, "options": options, "budgets": {"images": 4}})
    changes = {"problems": [unseen], "labels": "uniform", "nfe": 2, "methods": rows, "samples": 2}
    changes["truth"] = {"samples": 2, "tolerance": 0.1}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**SUITE, **changes}))
    result = call("run", tmp_path / "s.yaml", "--out", "out")
    assert result.exit_code == 0, result.output
    with Path("out/results.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [(row["method"], row["status"]) for row in found] == [(name, "done") for name in ("euler", *names)]
    assert all(row["protocol"].endswith("/uniform labels") for row in found)
    assert not (tmp_path / "data").exists()


def test_uniform_labels_are_a_function_of_seed_and_index():
    drawn = categories(3, "label", range(4000), (1,) * 4)
    torch.testing.assert_close(drawn[7:9], categories(3, "label", [7, 8], (1,) * 4))
    counts = torch.bincount(drawn, minlength=4)
    assert (counts - 1000).abs().max() < 120


def test_labels_are_part_of_what_a_cell_is(unseen):
    problem = {"problems": [unseen], "methods": "euler", "nfe": 2}
    (uniform,) = make_plan(suite(**problem, labels="uniform")).cells
    asked = uniform.score.inputs["sample"].asked
    assert asked["labels"] == "uniform"
    teacher = uniform.score.inputs["sample"].inputs["teacher"]
    assert isinstance(teacher.params, TeacherParams)
    assert teacher.params.content is None
