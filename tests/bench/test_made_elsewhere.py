"""Rows made elsewhere, through the whole house: measured as the others are, and ranked with none of them."""

import csv
import shutil

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.kinds import Sampled, TruthResult
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.methods.teachers.checkpoint import Checkpoint
from fewstep.reports import leaderboard
from fewstep.tests.bench.in_process import call, is_one_line, run_in_process
from fewstep.tests.bench.test_checkpoints import CONFIG, network

STUDENT = {"file": "few.safetensors", "kind": "consistency", "levels": [80, 1.5]}
SUITE = {
    "name": "small",
    "datasets": "digits",
    "teachers": {"name": "shipped", "file": "digits-unet-128k"},
    "nfe": [1, 2],
    "samples": 16,
    "truth": {"samples": 2, "tolerance": 1e-2},
    "metrics": ["fd_digits", "rmse"],
    "device": "cpu",
    "methods": [
        "euler",
        "dpmpp-2m",
        "ipndm",
        {"name": "student", "options": STUDENT},
        {"name": "images", "nfe": 1, "options": {"from": "made.npz"}},
    ],
}
EXACT = {"datasets": "mixture-2d", "teachers": {"name": "exact"}, "metrics": "rmse", "nfe": 2}


def write(folder, **changes):
    """A suite with the files that it names; the suite's file."""
    config = {**CONFIG, "kwargs": {**CONFIG["kwargs"], "label_dim": 0}}
    state = {name: tensor for name, tensor in network().state_dict().items() if "map_label" not in name}
    Checkpoint(config, state).save(folder / "few.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "made.npz", pixels)
    (folder / "suite.yaml").write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
    return folder / "suite.yaml"


@pytest.fixture
def here(tmp_path, monkeypatch):
    run_in_process(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        patch.chdir(folder)
        result = call("run", write(folder), "--out", "out")
    assert result.exit_code == 0, result.stderr
    return folder


def rows(folder, *names):
    with (folder / "out" / "results.csv").open() as file:
        return [row for row in csv.DictReader(file) if not names or row["method"] in names]


def artifacts(folder, kind):
    store = Store(folder / "out" / "store")
    return [store.need(path.name) for path in sorted((folder / "out" / "store").glob(f"{kind}-*"))]


def test_a_row_says_what_it_is_and_is_measured_as_the_others_are(ran):
    found = [row for row in rows(ran, "student", "images") if row["metric"] == "fd_digits"]
    assert [(row["method"], row["nfe"], row["variant"], row["teacher"], row["rules"]) for row in found] == [
        ("student", "1", "few levels=80,1.5", "few", "trained by its authors"),
        ("student", "2", "few levels=80,1.5", "few", "trained by its authors"),
        ("images", "1", "made.npz", "made", "made elsewhere"),
    ]
    assert {row["budget"] for row in found} == {"-"}
    assert all(row["status"] == "done" and float(row["value"]) > 0 for row in found)
    (euler, *_) = rows(ran, "euler")
    assert {row["protocol"] for row in found if row["method"] == "student"} == {euler["protocol"]}


def test_sampling_is_charged_and_training_is_not_known(ran):
    one, two = (row for row in rows(ran, "student") if row["metric"] == "fd_digits")
    assert float(two["flops_per_image"]) == pytest.approx(2 * float(one["flops_per_image"]))
    assert (one["forwards"], two["forwards"]) == ("1.0", "2.0")
    assert float(one["seconds_per_image"]) > 0
    for row in rows(ran, "student", "images"):
        assert (row["train_flops"], row["train_evaluations"], row["trainable_parameters"]) == ("", "", "")
    assert {row["flops_per_image"] for row in rows(ran, "images")} == {""}


def test_what_compares_with_a_teachers_solutions_is_skipped(ran):
    skipped = {row["status"] for row in rows(ran, "student", "images") if row["metric"] == "rmse"}
    assert skipped == {"skipped: compares with a teacher's exact solutions, and this row has no teacher here"}


def test_it_has_no_rank_and_no_mark_whatever_its_value(ran):
    """As if it were the best of all."""
    with (ran / "out" / "leaderboard.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["metric"] == "fd_digits"]
    foreign = [line for line in lines if line["budget"] == "-"]
    assert len(foreign) == 3
    assert {(line["rank"], line["best"]) for line in foreign} == {("", "0")}
    assert all(line["rank"] for line in lines if line["budget"] != "-")
    board = leaderboard.read(ran / "out")
    for entry in board.entries:
        assert entry.elsewhere == (entry.method in ("student", "images"))
        assert {entry.rivals[m] for m in entry.ranks} <= {3}, "the three solvers alone"


@pytest.mark.parametrize("style", ["table", "markdown", "latex", "html"])
def test_each_format_shows_it_in_a_group_of_its_own_beside_the_rows_of_the_suite(ran, style):
    text = leaderboard.render(leaderboard.read(ran / "out"), style, "fd_digits", width=140)
    solvers, student = text.index("training-free solvers"), text.index("Released student")
    group = text.index("made elsewhere")
    assert solvers < text.index("iPNDM") < group < student
    assert "rows made elsewhere have no rank and no mark" in text
    (line,) = (line for line in text.splitlines() if "Released student" in line)
    assert "*" not in line
    assert "textbf" not in line
    assert " - " in line or "<td>-</td>" in line or "& -" in line


def test_the_report_has_it_without_a_rank_and_out_of_its_summary(ran):
    page = (ran / "out" / "report.html").read_text()
    summary = page[page.index('id="summary"') : page.index('id="tables"')]
    assert "Released student" not in summary
    assert "Released student" in page
    assert "trained by its authors" in page


def test_compare_and_choose_leave_it_out(ran):
    result = call("compare", ran / "out", ran / "out", "--all")
    assert "not compared: made elsewhere" in result.output
    from fewstep.reports.verdicts import best, verdicts

    board = leaderboard.read(ran / "out")
    assert "student" not in " ".join(verdicts(board, "fd_digits", {}))
    assert {entry.method for entry in best(board, "fd_digits", {}).values()} <= {"euler", "dpmpp-2m", "ipndm"}


def test_figures_draw_it_hollow_and_leave_it_out_of_the_frontier(ran):
    from fewstep.reports import figures

    drawn = figures.figure([ran / "out"], "nfe", metric="fd_digits")
    marks = [line for axes in drawn.axes for line in axes.lines if line.get_marker() == "o"]
    hollow = [line for line in marks if line.get_markerfacecolor() == "white"]
    assert sorted(list(line.get_xdata()) for line in hollow) == [[0], [1, 2]], "one step, beside; both"
    assert len(marks) > len(hollow)


def test_what_is_done_stays_done_when_the_images_move(ran, monkeypatch, tmp_path):
    shutil.copytree(ran, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.npz").rename(tmp_path / "other.npz")
    methods = [{**row, "options": {"from": "other.npz"}} if "from" in str(row) else row for row in SUITE["methods"]]
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({**SUITE, "methods": methods}))
    assert "0 to do" in call("run", "suite.yaml", "--out", "out", "--dry-run").output


def test_other_images_are_another_row(ran, monkeypatch, tmp_path):
    shutil.copytree(ran, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "made.npz", np.zeros((20, 8, 8, 1), np.uint8))
    assert "2 to do: 1 images, 1 score" in call("run", "suite.yaml", "--out", "out", "--dry-run").output


def test_a_run_that_was_killed_keeps_its_rows(ran, monkeypatch, tmp_path):
    """Between the images and their score, as if it had been killed there."""
    shutil.copytree(ran, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    run_in_process(monkeypatch)
    before = rows(tmp_path)
    (made,) = artifacts(tmp_path, "images")
    (score,) = (a for a in artifacts(tmp_path, "score") if a.manifest["inputs"]["sample"] == made.folder.name)
    shutil.rmtree(score.folder)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "store").glob("*-*")}
    assert call("run", "suite.yaml", "--out", "out").exit_code == 0
    # In another number of threads the last digits may differ.
    after = rows(tmp_path)
    values = [[row.pop("value") for row in table] for table in (before, after)]
    assert [len(row) for row in after] == [len(row) for row in before]
    assert [row["status"] for row in after] == [row["status"] for row in before]
    assert [float(v) for v in values[1] if v] == pytest.approx([float(v) for v in values[0] if v], rel=1e-6)
    assert all((tmp_path / "out" / "store" / name).stat().st_mtime_ns == when for name, when in kept.items())


def test_images_are_scored_as_evaluate_scores_them(ran, monkeypatch):
    monkeypatch.chdir(ran)
    np.savez(ran / "first.npz", np.load(ran / "made.npz")["arr_0"][:16])
    words = ("--dataset", "digits", "--metrics", "fd_digits", "--store", "out/store", "--device", "cpu")
    result = call("evaluate", "first.npz", *words, "--nfe", 1, "--out", "evaluated")
    assert result.exit_code == 0, result.stderr
    with (ran / "evaluated" / "results.csv").open() as file:
        (line,) = csv.DictReader(file)
    (row,) = (row for row in rows(ran, "images") if row["metric"] == "fd_digits")
    assert float(line["value"]) == pytest.approx(float(row["value"]), rel=1e-6)
    assert line["protocol"] == row["protocol"]


def test_the_nfe_of_the_exact_solution_is_what_the_truth_took(here):
    suite = write(here, **EXACT, truth={"samples": 16, "tolerance": 1e-3}, methods=["euler", "ground-truth"])
    result = call("run", suite, "--out", "out")
    assert result.exit_code == 0, result.stderr
    (row,) = rows(here, "ground-truth")
    (truth,) = artifacts(here, "truth")
    (sampled,) = (a for a in artifacts(here, "sample") if a.manifest["params"]["method"] == "ground-truth")
    mean = truth.answer(TruthResult).nfe_mean
    assert sampled.answer(Sampled).evaluations == mean > 10
    assert int(row["nfe"]) == round(mean)
    assert (row["budget"], row["rules"], float(row["value"])) == ("-", "exact solution", 0.0)


def test_all_seeds_of_the_exact_solution_are_one_entry(here):
    suite = write(here, **EXACT, seeds=[0, 1, 2], methods=["ground-truth"])
    assert call("run", suite, "--out", "out").exit_code == 0
    assert len({row["nfe"] for row in rows(here)}) == 1
    (entry,) = leaderboard.read(here / "out").entries
    assert sorted(entry.values["rmse"]) == [0, 1, 2]


def test_a_suite_of_rows_made_elsewhere_needs_no_teacher(here):
    suite = write(here, methods=SUITE["methods"][3:])
    content = yaml.safe_load(suite.read_text())
    del content["teachers"]
    suite.write_text(yaml.safe_dump(content))
    plan = make_plan(load(str(suite)))
    assert [(cell.method, cell.teacher, cell.nfe, cell.skipped) for cell in plan.cells] == [
        ("student", "few", 1, None),
        ("student", "few", 2, None),
        ("images", "made", 1, None),
    ]


def test_it_is_planned_once_however_many_teachers_there_are(here):
    teachers = [{"name": "shipped", "file": "digits-unet-128k"}, {"name": "exact", "bandwidth": 0.1}]
    plan = make_plan(load(str(write(here, teachers=teachers))))
    assert sum(cell.method == "student" for cell in plan.cells) == 2
    assert sum(cell.method == "images" for cell in plan.cells) == 1
    assert sum(cell.method == "euler" for cell in plan.cells) == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"name": "images", "nfe": 1, "options": {"from": "gone"}}, "gone: no such file or folder"),
        ({"name": "student", "options": {**STUDENT, "file": "gone.pt"}}, "gone.pt: no such file, and no network"),
        ({"name": "released", "options": {"folder": "gone"}}, "gone: no such file, and no network is known"),
    ],
)
def test_what_is_missing_or_cannot_be_reached_is_a_reason(here, row, reason):
    plan = make_plan(load(str(write(here, methods=[row]))))
    assert all(cell.skipped is not None and reason in str(cell.skipped) for cell in plan.cells)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (STUDENT, "2 levels for a consistency model: give levels"),
        ({**STUDENT, "kind": "one-step", "levels": []}, "NFE 1 only"),
    ],
)
def test_an_nfe_that_it_does_not_have_is_a_reason(here, options, reason):
    one, three = make_plan(
        load(str(write(here, methods=[{"name": "student", "nfe": [1, 3], "options": options}])))
    ).cells
    assert one.skipped is None
    assert reason in str(three.skipped)


def test_doctor_says_what_is_missing_of_them(here):
    rows = [{"name": "student", "options": STUDENT}, {"name": "images", "nfe": 1, "options": {"from": "gone"}}]
    result = call("doctor", write(here, methods=rows))
    assert f"network few.safetensors: present ({here / 'few.safetensors'})" in result.output
    assert "images gone: missing (no such file or folder)" in result.output
    assert result.exit_code == 1


def wrong(name, options, message, **entry):
    return pytest.param({"name": name, "options": options, **entry}, message, id=f"{name}-{message[:30]}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        wrong("student", {}, "'file' is missing"),
        wrong("student", {"file": "few.safetensors"}, "'kind' is missing: how the network is sampled"),
        wrong("student", {**STUDENT, "levels": [1.5, 80]}, "levels must fall"),
        wrong("student", {**STUDENT, "kind": "one-step"}, "levels are of kind consistency, and this is one-step"),
        wrong("student", {"file": "few.safetensors", "kind": "progressive"}, "steps is missing"),
        wrong("student", {**STUDENT, "form": "emd"}, "form: "),
        wrong("student", STUDENT, "there is nothing to train; leave it out", budgets={"evaluations": 10}),
        wrong("student", {**STUDENT, "file": "suite.yaml"}, "suite.yaml"),
        wrong("student", {**STUDENT, "file": "wide.safetensors"}, "its images have shape (1, 16, 16)"),
        wrong("student", {**STUDENT, "level": [80]}, "unknown key 'level'; did you mean 'levels'?"),
        wrong("student", STUDENT, "the suite has no data set 'digit'; did you mean 'digits'?", on="digit"),
        wrong("student", {"file": "cd_imagenet64_l2"}, "its images have shape (3, 64, 64), and digits's (1, 8, 8)"),
        wrong("images", {}, "'from' is missing", nfe=1),
        wrong("images", {"from": "made.npz"}, "images were made with one NFE", nfe=[1, 2]),
        wrong("images", {"from": "made.npz"}, "images were made with one NFE"),
        wrong("images", {"from": "suite.yaml"}, "suite.yaml", nfe=1),
        wrong("images", {"from": "broken"}, "a.png", nfe=1),
        wrong("images", {"from": "wide.npz"}, "images of shape (1, 16, 16), and fd_digits need (1, 8, 8)", nfe=1),
        wrong("images", {"from": "made.npz", "rounding": "up"}, "rounding", nfe=1),
        wrong("ground-truth", {}, "the NFE of the exact solution is measured; leave it out", nfe=4),
        wrong("ground-truth", {"tolerance": 0}, "tolerance"),
        wrong("ground-truth", {"tolerence": 1e-3}, "unknown key 'tolerence'; did you mean 'tolerance'?"),
        wrong("ground-truth", {}, "there is nothing to train", tune={"trials": [{}, {"tolerance": 1e-3}]}),
        wrong("released", {}, "'folder' is missing"),
        wrong("released", {"folder": "broken"}, "a folder without model_index.json or config.json"),
        wrong("released", {"folder": "gone", "labels": [1, 2]}, "labels must fall"),
        wrong("released", {"folder": "gone", "sampler": "lcm2"}, "sampler"),
        wrong("released", {"folder": "gone", "eta": 2}, "eta"),
        wrong("euler", {}, "the suite has no teacher 'digits'", on="digits"),
    ],
)
def test_a_wrong_row_is_one_line_before_anything_runs(here, row, message):
    suite = write(here, methods=[row])
    (here / "broken").mkdir()
    (here / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n cut short")
    np.savez(here / "wide.npz", np.zeros((4, 16, 16, 1), np.uint8))
    wide = {**CONFIG, "kwargs": {**CONFIG["kwargs"], "label_dim": 0, "img_resolution": 16}}
    Checkpoint(wide, {"a": torch.zeros(1)}).save(here / "wide.safetensors")
    result = call("run", suite, "--out", "out")
    assert is_one_line(result), result.stderr
    assert message in result.stderr
    assert not (here / "out").exists()


def unet_folder(folder):
    """A tiny network of diffusers on digits' images, with its scheduler."""
    diffusers = pytest.importorskip("diffusers", reason="made with diffusers, which is not here")
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(folder)
    return unet.eval()


def test_a_released_folder_is_sampled_by_its_own_formula(here):
    unet = unet_folder(here / "turbo")
    methods = [{"name": "released", "nfe": 2, "options": {"folder": "turbo", "labels": [999, 499]}}]
    result = call("run", write(here, methods=methods, metrics="fd_digits"), "--out", "out")
    assert result.exit_code == 0, result.output + result.stderr
    (row,) = rows(here)
    assert (row["teacher"], row["variant"], row["budget"]) == ("turbo", "turbo euler labels=999,499", "-")
    (made,) = artifacts(here, "sample")
    alphabar = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0).float()
    from fewstep.bench.stages.sample import start_noise

    x = start_noise(0, range(16), (1, 8, 8))
    with torch.no_grad():
        for label, following in ((999, 499), (499, None)):
            eps = unet(x, label).sample
            x0 = (x - (1 - alphabar[label]).sqrt() * eps) / alphabar[label].sqrt()
            last = following is None
            x = x0 if last else alphabar[following].sqrt() * x0 + (1 - alphabar[following]).sqrt() * eps
    found = load_file(made.folder / "samples.safetensors")["x0"]
    assert (found - x).square().mean().sqrt() < 1e-4 * x.square().mean().sqrt()


def test_a_teacher_of_diffusers_is_exported_as_a_folder_with_equal_samples(here):
    unet_folder(here / "folder")
    teacher = {"name": "checkpoint", "file": "folder"}
    suite = write(here, teachers=teacher, methods=["euler"], nfe=2, metrics="fd_digits")
    result = call("run", suite, "--out", "out")
    assert result.exit_code == 0, result.stderr
    result = call("export", "out", "--teacher", ".", "--format", "diffusers", "--out", "again")
    assert result.exit_code == 0, result.output + result.stderr
    suite = write(here, teachers={**teacher, "file": "again"}, methods=["euler"], nfe=2, metrics="fd_digits")
    result = call("run", suite, "--out", "second", "--store", "out/store")
    assert result.exit_code == 0, result.stderr
    one, two = (load_file(made.folder / "samples.safetensors")["x0"] for made in artifacts(here, "sample"))
    assert torch.equal(one, two)
