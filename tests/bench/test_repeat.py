"""A run folder repeats its run: the suite as it was run, the command line, and commands that name a row."""

import csv
import json

import pytest
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.bench.errors import InputError
from fewstep.bench.suite.loading import load, shipped_names
from fewstep.bench.suite.writing import MARK, dump, require_replaceable

SUITE = {
    "name": "small",
    "datasets": "mixture-2d",
    "teachers": {"name": "exact"},
    "methods": [{"name": "euler"}, {"name": "heun", "nfe": 3}, {"name": "euler", "variant": "1e3", "nfe": 2}],
    "budgets": {"evaluations": 1},
    "nfe": [1, 2],
    "samples": 40,
    "metrics": "rmse",
    "device": "cpu",
}


def fewstep(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run with settings, in `out`."""
    folder = tmp_path_factory.mktemp("ran")
    (folder / "mine.yaml").write_text(json.dumps(SUITE))
    words = ("run", folder / "mine.yaml", "--out", folder / "out", "--set", "seeds=[3,4]", "--set", "samples=30")
    result = fewstep(*words, "--workers", 1)
    assert result.exit_code == 0, result.output
    return folder


def test_the_suite_of_a_run_folder_repeats_the_run_from_the_store(ran, tmp_path):
    words = (
        "run",
        ran / "out" / "suite.yaml",
        "--out",
        tmp_path / "again",
        "--store",
        ran / "out" / "store",
        "--cached",
    )
    again = fewstep(*words)
    assert again.exit_code == 0, again.output
    for name in ("results.csv", "leaderboard.csv", "suite.yaml"):
        assert (tmp_path / "again" / name).read_bytes() == (ran / "out" / name).read_bytes()


def test_run_json_says_by_which_words_and_when(ran):
    facts = json.loads((ran / "out" / "run.json").read_text())
    assert facts["argv"][:3] == ["fewstep", "run", str(ran / "mine.yaml")]
    assert facts["argv"][-4:] == ["--set", "samples=30", "--workers", "1"]
    assert facts["started"] <= facts["ended"]
    assert facts["started"].endswith("+00:00")


def test_a_second_run_by_other_words_with_the_same_results_leaves_the_folder_as_it_is(ran):
    before = {path: path.stat().st_mtime_ns for path in (ran / "out").iterdir() if path.is_file()}
    assert fewstep("run", ran / "out" / "suite.yaml", "--out", ran / "out", "--cached").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in (ran / "out").iterdir() if path.is_file()} == before


def test_a_variant_is_chosen_with_only(ran, tmp_path):
    words = ("--only", "method=euler", "--only", "variant=1e3", "--cached", "--store", ran / "out" / "store")
    assert fewstep("run", ran / "out" / "suite.yaml", "--out", tmp_path / "one", *words).exit_code == 0
    with (tmp_path / "one" / "results.csv").open() as lines:
        assert {(row["variant"], row["nfe"]) for row in csv.DictReader(lines)} == {("1e3", "2")}


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_suite_is_written_as_a_file_that_reads_as_the_same(name, tmp_path):
    suite = load(name)
    (tmp_path / "suite.yaml").write_text(dump(suite), encoding="utf-8")
    again = load(str(tmp_path / "suite.yaml"))
    assert again == suite
    assert dump(again) == dump(suite)


@pytest.mark.parametrize(
    "text", ["1e3", "010", "1:30", "yes", "null", "~", "2024-01-01", "0o17", "a: b #c", "\x85\u2028é", "<<"]
)
def test_texts_that_yaml_would_read_as_something_else_stay_text(text, tmp_path):
    file = tmp_path / "mine.yaml"
    method = {"name": "euler", "variant": text if text.isprintable() else "plain"}
    file.write_text(json.dumps({**SUITE, "methods": [method], "description": text}))
    suite = load(str(file))
    (tmp_path / "suite.yaml").write_text(dump(suite), encoding="utf-8")
    again = load(str(tmp_path / "suite.yaml"))
    assert (again.methods[0].variant, again.description) == (method["variant"], text)


def test_numbers_keep_every_digit(tmp_path):
    file = tmp_path / "mine.yaml"
    changes = {"truth": {"tolerance": 1.2345678901234567e-9}, "budgets": [{"flops": 1e22}, {"evaluations": 0.1}]}
    file.write_text(json.dumps({**SUITE, **changes}))
    suite = load(str(file))
    (tmp_path / "suite.yaml").write_text(dump(suite))
    assert load(str(tmp_path / "suite.yaml")) == suite


def test_a_suite_in_the_folder_of_the_results_stays_as_its_author_wrote_it(tmp_path):
    (tmp_path / "suite.yaml").write_text("# mine\n" + json.dumps(SUITE))
    words = ("run", tmp_path / "suite.yaml", "--out", tmp_path, "--cached")
    refused = fewstep(*words, "--set", "seeds=3")
    assert refused.exit_code == 2
    assert "suite.yaml: the results would replace this file, and --set would change it" in refused.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["suite.yaml"]
    assert fewstep(*words).exit_code == 1
    assert (tmp_path / "suite.yaml").read_text().startswith("# mine")


def test_what_no_run_wrote_is_not_replaced(tmp_path):
    (tmp_path / "suite.yaml").write_text("notes")
    (tmp_path / "mine.yaml").write_text(json.dumps(SUITE))
    with pytest.raises(InputError, match="no suite that `fewstep run` wrote"):
        require_replaceable(tmp_path / "suite.yaml", tmp_path / "mine.yaml", ())
    (tmp_path / "suite.yaml").write_text(f"{MARK}\nname: before\n")
    require_replaceable(tmp_path / "suite.yaml", tmp_path / "mine.yaml", ())


def test_a_report_of_several_runs_needs_a_file(ran):
    refused = fewstep("report", ran / "out", ran / "out")
    assert refused.exit_code == 2
    assert refused.output.count("\n") == 1
    assert "--out" in refused.output


def test_a_report_of_several_runs_says_their_labels(ran, tmp_path):
    words = ("--label", "before", "--label", "after", "--out", tmp_path / "both.html")
    made = fewstep("report", ran / "out", ran / "out", *words)
    assert made.exit_code == 0, made.output
    assert "before" in (tmp_path / "both.html").read_text()
