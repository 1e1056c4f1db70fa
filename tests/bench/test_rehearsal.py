"""`fewstep run --smoke`: the whole grid of a suite on random networks, and marked wherever it is shown."""

import csv
import os
import re
from pathlib import Path

import pytest
import torch
import yaml

from fewstep.bench.commands import run as command
from fewstep.bench.plan import rehearsal as files
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.results import published
from fewstep.bench.suite.loading import checked, load
from fewstep.bench.suite.rehearsal import FITTED, LARGEST_NFE, OPTIONS, rehearsal
from fewstep.datasets.registry import DATASETS
from fewstep.leaderboards import publish
from fewstep.methods import assets
from fewstep.methods.options import Options
from fewstep.methods.published_networks import NETWORKS
from fewstep.methods.teachers import forms
from fewstep.methods.teachers.forms import miniature, writing
from fewstep.reports import leaderboard
from fewstep.reports.drawing import svg
from fewstep.reports.figures import figure
from fewstep.reports.rehearsal import WATERMARK
from fewstep.reports.status import Kind

from .in_process import call, is_one_line, run_in_process
from .test_problems import CELLS

SUITE = {
    "name": "tables",
    "paper": {"key": "diffsampler"},
    "problems": {
        "dataset": "cifar10",
        "teacher": "edm-cifar10-32x32-uncond-vp",
        "references": {"fid": "cifar10-32x32"},
        "published": {"dataset": "CIFAR-10", "conditioning": "uncond"},
    },
    "budgets": {"iterations": 100_000},
    "seeds": [3, 4],
    "nfe": [3, 4],
    "samples": 50_000,
    "metrics": "fid",
    "device": "cpu",
    "methods": [{"name": "euler", "published": {"method": "Euler"}}, "heun"],
}


def suite(**changes):
    return checked("s.yaml", yaml.safe_dump(SUITE | changes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished rehearsal."""
    folder = tmp_path_factory.mktemp("rehearsal")
    (folder / "s.yaml").write_text(yaml.safe_dump(SUITE))
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        result = call("run", folder / "s.yaml", "--smoke", "--out", folder / "out", "--quiet")
    assert result.exit_code == 0, result.output
    return folder / "out"


def rows(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_cell_is_done_or_refused_as_the_suite_refuses_it(run):
    refused = {(cell.method, cell.nfe) for cell in make_plan(suite()).cells if cell.skipped.kind is Kind.SKIPPED}
    statuses = {(row["method"], int(row["nfe"])): row["status"] for row in rows(run)}
    assert {cell for cell, status in statuses.items() if status != "done"} == refused
    assert len(statuses) > len(refused)


def test_rows_say_that_they_are_of_a_rehearsal(run):
    assert {row["suite"] for row in rows(run)} == {"tables [smoke]"}
    assert {row["dataset"] for row in rows(run)} == {"cifar10 [smoke]"}
    assert all(row["protocol"].startswith("smoke/") for row in rows(run) if row["value"])


@pytest.mark.parametrize("form", ["table", "markdown", "latex", "siunitx", "html", "csv"])
def test_tables_say_so_in_every_format(run, form):
    text = leaderboard.render(leaderboard.read(run), form)
    assert "[smoke]" in re.sub(r"[\\{}]", "", text).partition("Euler")[0]


def test_the_page_says_so_before_anything_else(run):
    page = (run / "report.html").read_text()
    assert 'class="rehearsal"' in page.partition("<h1>")[0]


def test_figures_say_so(run):
    assert f'-{WATERMARK}"' in svg(figure([run], "nfe"))


def test_nothing_of_a_rehearsal_is_published(run, tmp_path):
    (tmp_path / "leaderboards").mkdir()
    with pytest.raises(ValueError, match="a rehearsal"):
        publish.copy(run, tmp_path)
    assert not list((tmp_path / "leaderboards").iterdir())


def test_a_rehearsal_has_a_store_and_a_folder_apart(run):
    assert (run / "smoke-store").is_dir()
    assert not (run / "store").exists()
    for out, store in ((None, None), (None, Path("mine")), (Path("out"), None)):
        real, small = (command._places("s", out, store, smoke) for smoke in (False, True))
        assert real[1] != small[1]
    assert command._places("s", None, None, True)[0] != command._places("s", None, None, False)[0]


def test_what_a_run_finds_is_not_changed_by_a_rehearsal_before_it(run):
    assert DATASETS["cifar10"].shown == "cifar10"
    assert DATASETS["lsun-bedroom"].shape == (3, 256, 256)
    assert files.TOLD not in os.environ
    assert not os.environ.get("FEWSTEP_WEIGHTS", "").startswith(str(run))


def test_a_dry_run_leaves_no_files_and_knows_what_is_done(run, tmp_path, monkeypatch):
    suite, before = run.parent / "s.yaml", sorted(run.rglob("*"))
    assert " 0 to do" in call("run", suite, "--smoke", "--out", run, "--dry-run").output
    assert sorted(run.rglob("*")) == before
    monkeypatch.chdir(tmp_path)
    assert "3 of 4 cells can run here" in call("run", suite, "--smoke", "--dry-run").output
    assert not list(tmp_path.iterdir())


def test_rows_with_lpips_are_refused_without_its_packages_and_the_others_rehearsed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for module in (files, assets):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr("fewstep.bench.metrics.extractors.stand_ins.lpips", lambda *_: pytest.fail("made without them"))
    result = call("run", "papers/cm-table1", "--smoke", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "missing package piq" in result.output
    assert "0 of 13 cells" not in result.output


def test_what_clean_fid_resizes_is_not_measured_without_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fewstep.bench.metrics.extractors.registry.find_spec", lambda name: None)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SUITE | {"metrics": ["fid", "fid_clean"]}))
    assert (said := call("run", "s.yaml", "--smoke", "--dry-run")).exit_code == 0
    assert "not measured: fid_clean: missing package cleanfid, get it by `pip install clean-fid`" in said.output
    assert "not measured: fid:" not in said.output


def test_published_numbers_are_compared_with_no_rehearsal():
    real = load("papers/diffsampler-edm")
    assert not published.beside(real).smoke
    assert published.beside(rehearsal(real)).smoke


def sizes(options):
    """(name, value) of what says how much is computed, in options inside of others too."""
    for name in type(options).model_fields:
        value = getattr(options, name)
        if name in OPTIONS and isinstance(value, int):
            yield name, value
        if isinstance(value, Options) and name in options.model_fields_set:
            yield from sizes(value)


@pytest.mark.parametrize("name", CELLS)
def test_a_rehearsal_has_the_rows_of_its_suite(name):
    """Under the names by which published numbers are joined; what is cut is said."""
    real = load(f"papers/{name}")
    small = rehearsal(real)
    assert [entry.label() for entry in small.methods] == [entry.label() for entry in real.methods]
    assert len(small.problems) == len(real.problems)
    for before, after in zip(real.methods, small.methods, strict=True):
        reached = after.nfe or small.nfe
        for nfe in before.nfe or real.nfe:
            cut = [less for less in reached if less <= LARGEST_NFE < nfe and f"{less} for {nfe}" in small.description]
            assert nfe in reached or cut
    assert small.samples == (10 if "inception_score" in real.metrics else 4)
    assert small.seeds == [0]
    for entry in small.methods:
        most = FITTED if entry.name in ("bespoke", "d-ode", "iia") else OPTIONS
        large = [(option, value) for option, value in sizes(entry.checked()) if value > most[option]]
        assert not large, entry.label()


@pytest.mark.parametrize("name", CELLS)
def test_the_budget_of_a_rehearsal_buys_a_step_of_each_phase(name):
    small = rehearsal(load(f"papers/{name}"))
    for entry in small.methods:
        options = entry.checked()
        for budget in entry.budgets or small.budgets or []:
            if hasattr(options, "phases") and budget.phase_iterations is None:
                steps = {"images": budget.amount / options.batch, "iterations": budget.amount}[budget.unit]
                assert steps >= len(options.phases), entry.label()


def test_a_solver_is_cut_to_an_nfe_that_it_reaches():
    heun = rehearsal(suite(nfe=[3, 79, 80])).methods[1]
    assert heun.nfe == [3, 49, 80]


def test_another_executor_is_refused(tmp_path):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SUITE))
    assert is_one_line(call("run", tmp_path / "s.yaml", "--smoke", "--executor", "in-a-thread"))


def test_what_is_wrong_with_the_command_is_said_before_files_are_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SUITE))
    (tmp_path / "file").write_text("")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "suite.yaml").write_text("name: another\n")
    wrong = "--only nfe=5", "--only what=heun", "--out file", "--out photos", "--executor in-a-thread"
    for words in wrong:
        assert is_one_line(call("run", "s.yaml", "--smoke", *words.split())), words
    assert {path.name for path in tmp_path.rglob("*")} == {"s.yaml", "file", "photos", "suite.yaml"}


ARCHITECTURES = {
    str(network.settings) + str(network.shape) + network.name.partition("-32")[0]: name
    for name, network in NETWORKS.items()
}


@pytest.mark.parametrize(
    ("name", "factors"),
    [("512x512_diffusion", [2, 4, 8]), ("256x256_classifier", [2, 4, 8]), ("imagenet64_uncond_100M_1500K", [4, 8])],
)
def test_a_small_network_of_fewer_levels_has_attention_on_its_last_ones(name, factors):
    """ADM's attends to 32, 16 and 8 pixels of 512, 256 and 64, its last three levels of seven, six and four."""
    network = miniature.settings(NETWORKS[name], 16)["network"]
    assert network["attention_resolutions"] == factors
    assert network["channel_mult"] == [1, 1, 2, 2]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES.values()])
def test_a_small_network_reads_as_its_form_with_the_classes_and_variance_of_the_published(name, tmp_path):
    known = NETWORKS[name]
    side = files.side(known.shape[1])
    writing.write(tmp_path / known.file, miniature.settings(known, side), seed=0)
    read = forms.read(tmp_path / known.file)
    assert read.form == known.form
    if known.form == "edm":
        assert any(key.startswith("model.enc.") and "qkv" in key for key in read.state), "no attention"
    if known.kind == "classifier":
        assert forms.classifier(read)
        return
    made = forms.build(read)
    assert made.shape == (3, side, side)
    assert made.classes == known.classes
    assert sum(tensor.numel() for tensor in read.state.values()) < 0.1 * known.parameters
    time = made.time_of(torch.tensor([0.5]))
    labels = torch.zeros(1, dtype=torch.long) if made.classes else None
    with torch.no_grad():
        output = made.network.eval()(torch.randn(1, *made.shape), time, labels)
    assert output.shape[1] == (6 if known.variance == "learned" else 3)
