"""Claims in suites: refused where their rows are not, kept with the results, judged by `fewstep claims`."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.bench.errors import InputError
from fewstep.bench.results.write import _claimed
from fewstep.bench.suite.loading import load
from fewstep.bench.suite.writing import dump
from fewstep.reports import leaderboard


def fewstep(*arguments):
    return CliRunner().invoke(main, arguments)


BOARD = Path(leaderboard.__file__).parents[1] / "leaderboards" / "distillation"
SUITE = {
    "name": "claimed",
    "datasets": "digits",
    "teachers": {"name": "shipped", "file": "digits-unet-128k"},
    "budgets": {"evaluations": 100000},
    "nfe": [1, 4],
    "seeds": [0, 1, 2],
    "metrics": ["fd_digits", "rmse"],
    "methods": [
        {"name": "consistency"},
        {"name": "progressive", "tune": {"trials": [{}, {"learning_rate": 0.002}]}},
        {"name": "euler", "variant": "plain"},
        {"name": "euler", "variant": "vp", "options": {"path": "vp-linear"}},
    ],
}
CLAIM = {
    "id": "cd-pd",
    "paper": {"key": "", "says": "CD beats PD"},
    "metric": "fd_digits",
    "tests": [{"less": {"method": "consistency"}, "than": {"method": "progressive"}}],
    "at": {"nfe": [1]},
}


@pytest.fixture
def suite(tmp_path):
    def make(*claims):
        file = tmp_path / "claimed.yaml"
        file.write_text(yaml.safe_dump({**SUITE, "claims": list(claims)}))
        return load(str(file))

    return make


def test_a_suite_with_claims_reads_as_it_was_written(suite, tmp_path):
    found = suite(CLAIM)
    (tmp_path / "again.yaml").write_text(dump(found))
    assert load(str(tmp_path / "again.yaml")).claims == found.claims


def rows(*names):
    less, than = ({"method": name.partition(":")[0], **_variant(name)} for name in names)
    return [{"less": less, "than": than}]


def _variant(name):
    return {"variant": name.partition(":")[2]} if ":" in name else {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tests": rows("heun", "consistency")}, "the suite has no row heun"),
        ({"tests": rows("consistency", "euler")}, "several rows euler; name one as variant: 'plain', 'vp'"),
        ({"tests": rows("consistency", "euler:ve")}, "no row euler of variant 've'; there are 'plain', 'vp'"),
        ({"at": {"nfe": [1, 3]}}, "consistency is not run at NFE 3"),
        ({"metric": "recall"}, "the suite does not measure recall"),
        (
            {"metric": "rmse", "at": {"nfe": [4]}},
            "rmse says little of consistency: its steps after the first add noise",
        ),
        ({"tests": [{"faster": {"method": "consistency"}, "than": {"method": "progressive"}}]}, "two budgets or more"),
    ],
)
def test_a_claim_that_the_suite_cannot_decide_is_refused_when_it_is_loaded(suite, changes, message):
    with pytest.raises(InputError, match=message):
        suite(CLAIM | changes)


def test_two_claims_of_one_name_are_refused_with_both_lines(suite):
    with pytest.raises(InputError, match="'cd-pd' repeats a claim"):
        suite(CLAIM, CLAIM)


def test_a_tuned_row_is_named_without_its_rules(suite):
    assert suite(CLAIM | {"tests": rows("consistency", "progressive:")}).claims


def test_claims_about_what_set_takes_away_are_left_out_with_a_line(suite, tmp_path, caplog):
    suite(CLAIM, {**CLAIM, "id": "other", "metric": "rmse", "tests": rows("euler:plain", "euler:vp")})
    file = str(tmp_path / "claimed.yaml")
    assert [claim.id for claim in load(file, ["seeds=[5]"]).claims] == [CLAIM["id"], "other"]
    assert not caplog.messages
    assert [claim.id for claim in load(file, ["metrics=fd_digits"]).claims] == [CLAIM["id"]]
    assert caplog.messages == ["what --set changes leaves 1 of 2 claims untested: other"]
    assert load(file, ["methods=[euler]"]).claims == []


def test_a_mistake_in_the_file_is_one_whatever_is_set(suite, tmp_path):
    with pytest.raises(InputError, match="progressive"):
        suite(CLAIM | {"tests": rows("consistency", "progressive:missing")})
    with pytest.raises(InputError, match="progressive"):
        load(str(tmp_path / "claimed.yaml"), ["seeds=[5]"])


def test_claims_that_are_changed_after_the_first_results_are_told(suite, tmp_path):
    first = _claimed(suite(CLAIM), tmp_path / "out")["claims"]
    assert first["first"] == first["sha256"]
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.csv").write_text("")
    (out / "run.json").write_text(json.dumps({"claims": {"first": first["sha256"]}}))
    assert _claimed(suite(CLAIM), out)["claims"] == {"sha256": first["sha256"], "first": first["sha256"]}
    (out / "run.json").write_text("{}")
    assert _claimed(suite(CLAIM), out)["claims"]["first"] == "none"
    (out / "run.json").write_text(json.dumps({"claims": {"first": first["sha256"]}}))
    changed = _claimed(suite(CLAIM | {"negligible": 0.2}), out)["claims"]
    assert changed["first"] == first["sha256"] != changed["sha256"]


@pytest.fixture
def folder(tmp_path):
    """The committed board of distillation with claims."""
    target = tmp_path / "run"
    shutil.copytree(BOARD, target)
    (target / "suite.yaml").write_text(yaml.safe_dump({"claims": [CLAIM, {**CLAIM, "id": "other"}]}))
    return target


def test_the_command_prints_the_board_and_one_claim(folder):
    done = fewstep("claims", str(folder))
    assert done.exit_code == 0
    assert "cd-pd" in done.stdout
    done = fewstep("claims", str(folder), "--claim", "cd-pd")
    assert "“CD beats PD”" in done.stdout
    assert "consistency < progressive" in done.stdout


def test_suites_that_state_a_sentence_by_tests_of_their_own_make_one_board(folder, tmp_path):
    """There by another metric, and of a data set of its own: each is judged by its own rows."""
    other = tmp_path / "other"
    shutil.copytree(BOARD, other)
    results = (other / "results.csv").read_text()
    (other / "results.csv").write_text(results.replace(",digits,", ",mixture-8x8,"))
    claim = {**CLAIM, "metric": "rmse"}
    (other / "suite.yaml").write_text(yaml.safe_dump({"claims": [claim]}))
    done = fewstep("claims", str(folder), str(other))
    assert done.exit_code == 0, done.stderr
    lines = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("cd-pd ")]
    assert lines == [["cd-pd", "digits"], ["cd-pd", "mixture-8x8"]]
    assert "other  mixture" not in done.stdout
    assert re.search(r"holds: cd-pd in \d of 2", " ".join(done.stdout.split()))
    details = fewstep("claims", str(folder), str(other), "--claim", "cd-pd").stdout
    assert "metric FD (digits) and RMSE to truth" in " ".join(details.split())
    (other / "suite.yaml").write_text(yaml.safe_dump({"claims": [claim | {"paper": {"key": "", "says": "PD wins"}}]}))
    assert "cd-pd, and they say different things" in fewstep("claims", str(folder), str(other)).stderr


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("claims: []\n", [], "the suite states no claims"),
        ("claims: [\n", [], "suite.yaml: not the suite of a run"),
        ("claims: [{id: a}]\n", [], "suite.yaml: not the suite of a run"),
        (None, ["--claim", "cd"], "no claim 'cd'; there are cd-pd, other"),
    ],
)
def test_what_is_wrong_is_one_line(folder, text, arguments, message):
    if text is not None:
        (folder / "suite.yaml").write_text(text)
    done = fewstep("claims", str(folder), *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_a_folder_every_committed_board_with_claims_is_judged(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("fewstep.bench.commands.claims.BOARDS", tmp_path / "none")
    done = fewstep("claims")
    assert done.exit_code == 2
    assert "no board that comes with fewstep states claims" in done.stderr
    monkeypatch.setattr("fewstep.bench.commands.claims.BOARDS", tmp_path)
    second = shutil.copytree(folder, tmp_path / "second")
    (second / "suite.yaml").write_text(yaml.safe_dump({"claims": [{**CLAIM, "id": "third"}]}))
    shutil.copytree(BOARD, tmp_path / "without")
    assert fewstep("claims").output.count(": claims\n") == 2
    assert "third: “CD beats PD”" in fewstep("claims", "--claim", "third").output
    wrong = fewstep("claims", "--claim", "fourth")
    assert wrong.exit_code == 2
    assert "no claim 'fourth'; there are cd-pd, other, third" in wrong.stderr
