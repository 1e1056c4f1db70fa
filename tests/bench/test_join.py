"""Parts of a suite that were run apart, joined: the folder of a run of the whole."""

import csv
import json
import shutil

import pytest

from fewstep.tests.bench.in_process import TIMING, call, is_one_line, run_in_process, write_suite

SWEEP = {
    "teachers": {"name": "pretrain", "images": 1_280, "network": {"name": "mlp", "width": 16, "blocks": 1}},
    "budgets": {"evaluations": 2_000},
    "nfe": [1, 2],
    "seeds": [0, 1, 2],
    "samples": 64,
    "metrics": ["fd_law", "rmse"],
    "methods": [{"name": "euler"}, {"name": "consistency", "options": {"batch": 16}}],
    "claims": [
        {
            "id": "distilled",
            "paper": {"key": "song2023consistency", "says": "a student beats a solver at one evaluation"},
            "metric": "fd_law",
            "tests": [{"less": {"method": "consistency"}, "than": {"method": "euler"}}],
            "at": {"nfe": [1]},
        }
    ],
}
TABLES = ("results.csv", "blocks.csv", "costs.csv", "curves.csv")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(the whole, parts): the parts have stores of their own."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        suite, made = write_suite(root, **SWEEP), []
        for name, seeds in (("whole", (0, 1, 2)), ("one", (0, 2)), ("two", (1,))):
            only = [word for seed in seeds for word in ("--only", f"seed={seed}")]
            done = call("run", suite, "--out", root / name, "--quiet", *only)
            assert done.exit_code == 0, (done.output, done.exception)
            made.append(root / name)
    return made[0], made[1:]


def lines(file):
    with file.open() as opened:
        found = list(csv.DictReader(opened))
    timed = [name for name in found[0] if "seconds" in name]
    return [{name: value for name, value in line.items() if name not in (*TIMING, *timed)} for line in found]


def test_parts_are_the_whole(runs, tmp_path):
    whole, parts = runs
    out = tmp_path / "out"
    done = call("join", *parts, "--out", out)
    assert done.exit_code == 0, (done.output, done.exception)
    assert lines(out / "results.csv") == lines(whole / "results.csv")
    for name in TABLES[1:]:
        assert sorted(map(str, lines(out / name))) == sorted(map(str, lines(whole / name))), name
    for name in ("metrics.json", "methods.json", "papers.bib", "suite.yaml"):
        assert (out / name).read_text() == (whole / name).read_text(), name
    for command in ("leaderboard", "claims"):
        joined, at_once = (call(command, folder, *columns(command)).output for folder in (out, whole))
        assert joined == at_once
    facts = json.loads((out / "run.json").read_text())
    own = [json.loads((part / "run.json").read_text())["argv"] for part in parts]
    assert [part["argv"] for part in facts["joined"]] == own
    assert "stamp" not in facts
    assert (out / "report.html").exists()


def columns(command):
    """Without what depends on the clock."""
    return ("--metric", "fd_law", "--format", "csv") if command == "leaderboard" else ()


def test_a_row_without_a_value_gives_way_to_one_with(runs, tmp_path):
    whole, (one, two) = runs
    lacking = shutil.copytree(two, tmp_path / "lacking")
    text = (one / "results.csv").read_text().splitlines()
    header = text[0].split(",")
    line = dict(zip(header, text[1].split(","), strict=True)) | {"value": "", "status": "missing (not run yet)"}
    with (lacking / "results.csv").open("a") as file:
        file.write(",".join(line[name] for name in header) + "\n")
    for places in ((one, lacking), (lacking, one)):
        out = tmp_path / places[0].name / "out"
        assert call("join", *places, "--out", out).exit_code == 0
        assert lines(out / "results.csv") == lines(whole / "results.csv")


@pytest.mark.parametrize("what", ["one", "exists", "suite", "value", "protocol", "columns"])
def test_what_cannot_be_joined_is_one_line_and_writes_nothing(runs, tmp_path, what):
    _, (one, two) = runs
    other, out = shutil.copytree(two, tmp_path / "other"), tmp_path / "out"
    places, said = [one, other], {
        "one": "at least two", "exists": "is there already", "suite": "--only", "value": "both have",
        "protocol": "measured fd_law", "columns": "another version",
    }[what]  # fmt: skip
    results = (other / "results.csv").read_text()
    if what == "one":
        places = [one]
    elif what == "exists":
        out.mkdir()
    elif what == "suite":
        (other / "suite.yaml").write_text((other / "suite.yaml").read_text().replace("samples: 64", "samples: 32"))
    elif what == "value":
        changed = (one / "results.csv").read_text()
        value = next(line["value"] for line in csv.DictReader(changed.splitlines()))
        (other / "results.csv").write_text(changed.replace(value, "123.5"))
    elif what == "protocol":
        (other / "results.csv").write_text(results.replace("fd_law/", "fd_law/other/"))
    else:
        first, *rest = (other / "costs.csv").read_text().splitlines()
        (other / "costs.csv").write_text("\n".join([f"{first},more", *(f"{line},1" for line in rest)]))
    result = call("join", *places, "--out", out)
    assert is_one_line(result), (result.output, result.exception)
    assert said in result.stderr
    assert not out.exists() or not list(out.iterdir())
