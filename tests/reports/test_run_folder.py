"""The run folder's module knows every file and column that the committed results have."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from fewstep.bench.results import costs, rows, trials
from fewstep.bench.results.write import method_facts
from fewstep.reports import leaderboard, run_folder
from fewstep.reports.run_folder import Method, Metric

BOARDS = Path(leaderboard.__file__).parent.parent / "leaderboards"
FOLDERS = sorted(file.parent for file in BOARDS.glob("*/results.csv"))
committed = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def header(file):
    with file.open() as lines:
        return next(csv.reader(lines))


@committed
def test_every_column_of_the_committed_files_is_documented(folder):
    for file in folder.glob("*.csv"):
        documented = run_folder.COLUMNS[file.name]
        assert all(len(documented[column]) > 5 for column in header(file)), file


@committed
def test_every_file_of_the_committed_folders_is_known(folder):
    found = {file.name for file in folder.iterdir() if file.suffix != ".svg"} - {"README.md"}
    assert found <= set(run_folder.FILES)


@committed
def test_the_committed_leaderboard_is_that_of_the_committed_results(folder):
    text = leaderboard.render(leaderboard.read(folder), "csv")
    assert (folder / run_folder.LEADERBOARD).read_text() == text + "\n"


@committed
def test_every_metric_of_the_committed_results_has_its_facts(folder):
    metrics = run_folder.metrics(folder)
    assert list(metrics) == list(dict.fromkeys(run_folder.results(folder)["metric"]))
    assert all(metric.display and metric.summary for metric in metrics.values())
    assert all(metrics[m.pair].pair == name for name, m in metrics.items() if m.pair in metrics)


def test_what_bench_writes_are_the_documented_columns():
    written = (rows.COLUMNS, rows.BLOCK_COLUMNS, costs.COLUMNS, trials.COLUMNS)
    files = (run_folder.RESULTS, run_folder.BLOCKS, run_folder.COSTS, run_folder.TRIALS)
    assert [list(run_folder.COLUMNS[file]) for file in files] == list(map(list, written))


def test_the_facts_of_a_metric_are_written_and_read_again(tmp_path):
    facts = {"recall": Metric("Recall", "a share", True, 1000, False, "precision")}
    (tmp_path / run_folder.METRICS).write_text(run_folder.metrics_json(facts))
    assert run_folder.metrics(tmp_path) == facts
    (written,) = json.loads((tmp_path / run_folder.METRICS).read_text()).values()
    assert list(written) == run_folder.METRIC_FIELDS
    assert "known" not in written
    assert asdict(facts["recall"]) | written == asdict(facts["recall"])


def test_the_facts_of_a_method_are_written_and_read_again(tmp_path):
    facts = {
        "dpmpp-2m": Method("DPM-Solver++(2M)", "solver", ("lu2022dpmpp",)),
        "plain": Method("plain", data_free=False),
    }
    (tmp_path / run_folder.METHODS).write_text(run_folder.methods_json(facts))
    assert run_folder.methods(tmp_path) == facts


@committed
def test_the_committed_boards_name_their_methods_as_the_registry_does(folder):
    names = dict.fromkeys(run_folder.results(folder)["method"])
    assert (run_folder.methods(folder), run_folder.papers(folder)) == method_facts(names)


def test_facts_that_a_newer_version_adds_are_passed_over(tmp_path):
    (tmp_path / run_folder.METRICS).write_text('{"fid": {"log_scale": true, "unit": "none"}}')
    assert run_folder.metrics(tmp_path) == {"fid": Metric("fid", log_scale=True)}


@pytest.mark.parametrize("text", ["[]", '{"fid": 3}', "{"])
def test_facts_of_another_form_are_refused_with_the_file(tmp_path, text):
    (tmp_path / run_folder.METRICS).write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.json"):
        run_folder.metrics(tmp_path)


def test_a_folder_without_the_other_files_has_nothing_of_them(tmp_path):
    assert run_folder.metrics(tmp_path) == run_folder.facts(tmp_path) == run_folder.blocks(tmp_path) == {}
    assert run_folder.pictures(tmp_path) == {}
    assert run_folder.learned(tmp_path) == []
    assert run_folder.suite(tmp_path) == ""
    assert all(read(tmp_path).empty for read in (run_folder.costs, run_folder.trials, run_folder.leaderboard))
    with pytest.raises(FileNotFoundError):
        run_folder.results(tmp_path)


def test_results_of_an_older_version_are_read_with_empty_columns(tmp_path):
    """Here without protocol, rules and peak memory; text that looks like a number or a gap remains text."""
    (tmp_path / run_folder.RESULTS).write_text(
        "suite,dataset,teacher,method,variant,budget,seed,nfe,metric,value,samples,status\n"
        "s,d,007,NA,null,0,0,1,fd,0.1,10,done\n"
        "s,d,007,NA,null,0,1,1,fd,,,failed\n"
    )
    frame = run_folder.results(tmp_path)
    assert list(frame) == list(run_folder.RESULT_COLUMNS)
    assert frame.iloc[0][["teacher", "method", "variant", "budget", "protocol"]].tolist() == [
        "007",
        "NA",
        "null",
        "0",
        "",
    ]
    assert frame["value"].iloc[0] == 0.1
    assert frame[["value", "samples", "train_peak_bytes"]].iloc[1].isna().all()


def test_pictures_and_suite_are_read(tmp_path):
    images = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    np.savez_compressed(tmp_path / run_folder.PICTURES, abc=images)
    (tmp_path / run_folder.SUITE).write_text("name: s\n")
    assert run_folder.pictures(tmp_path)["abc"].tolist() == images.tolist()
    assert run_folder.suite(tmp_path) == "name: s\n"
