"""The command line: quick answers, one line for a mistake, nothing half-written."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fewstep.bench import published_files as weights
from fewstep.bench.commands.main import main

BOARD = Path(__file__).parents[2] / "leaderboards" / "quickstart"
SUITE = {
    "name": "test",
    "datasets": "mixture-2d",
    "teachers": {"name": "exact"},
    "budgets": {"evaluations": 1000},
    "nfe": [2],
    "samples": 10,
    "metrics": ["rmse"],
    "methods": [{"name": "euler"}],
}


@pytest.fixture
def suite(tmp_path):
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(SUITE))
    return str(file)


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def fewstep(*arguments, **options):
    """The command as a process of its own."""
    command = [sys.executable, "-c", "from fewstep.bench.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def quickest(*arguments):
    """The best of three in seconds of CPU: the command's own time, not what else the machine was doing."""
    times = []
    for _ in range(3):
        before = os.times()
        fewstep(*arguments)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        times.append(spent)
    return min(times)


def test_help_answers_in_under_a_second():
    assert quickest("--help") < 1


def test_a_typo_in_a_suite_answers_in_under_a_second(tmp_path, suite):
    second = max(1, 5 * quickest("--version"))  # of a slow machine
    assert quickest("run", suite, "--set", "methods.0.name=eulr", "--out", tmp_path / "out") < second
    assert quickest("run", "quickstart", "--set", "methods.3.options.lerning_rate=1") < second


def test_no_command_that_only_reads_names_loads_torch():
    code = (
        "import sys; from click.testing import CliRunner; from fewstep.bench.cli import main\n"
        "for kind in 'methods solvers datasets teachers metrics suites'.split():\n"
        "    assert CliRunner().invoke(main, ['list', kind]).exit_code == 0\n"
        "assert CliRunner().invoke(main, ['run', 'quickstart', '--dry-run']).exit_code == 0\n"
        "assert not {'torch', 'pandas', 'wandb', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quikstart"], "did you mean 'quickstart'?"),
        (["run", "SUITE", "--set", "colour=red"], "unknown key 'colour'"),
        (["run", "SUITE", "--set", "methods.0.name=eulr"], "unknown method 'eulr'; did you mean 'euler'?"),
        (["run", "SUITE", "--set", "nfe=0"], "must be greater than or equal to 1, not 0"),
        (["run", "SUITE", "--set", "budgets.evaluations=-1"], "must be greater than 0, not -1"),
        (["run", "SUITE", "--only", "method=heun"], "the suite has no such method"),
        (["run", "SUITE", "--out", "FILE/out"], "cannot write there"),
        (["leaderboard", "nowhere"], "no results.csv there"),
        (["report", "nowhere"], "no results.csv there"),
        (["sample", "nowhere", "--method", "euler", "--nfe", "1", "--out", "x.png"], "no results.csv there"),
        (["rum"], "no such command 'rum'"),
        (["run"], "missing argument 'SUITE'. See `fewstep run --help`"),
        (["run", "SUITE", "--workers", "0"], "'--workers': 0 is not in the range x>=1. See `fewstep run --help`"),
        (["run", "SUITE", "more"], "unexpected extra argument (more). See"),
        (["leaderboard", "SUITE", "--metrik", "fid"], "--metrik"),
        (["--foo"], "See `fewstep --help`"),
    ],
)
def test_a_wrong_input_gets_one_line_and_exit_code_2(tmp_path, suite, arguments, message):
    (tmp_path / "file").write_text("")
    words = [suite if word == "SUITE" else word.replace("FILE", str(tmp_path / "file")) for word in arguments]
    before = sorted(os.listdir(tmp_path))
    with contextlib.chdir(tmp_path):
        result = call(*words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("fewstep: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_out_folder_without_permission_is_exit_code_2(tmp_path, suite):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    result = call("run", suite, "--out", locked / "out")
    assert result.exit_code == 2
    assert "cannot write there" in result.stderr


def test_a_dry_run_prints_the_cells_and_writes_nothing(tmp_path, suite):
    before = sorted(os.listdir(tmp_path))
    result = call(
        "run", suite, "--out", tmp_path / "out", "--dry-run", "--set", "methods=[{name: euler}, {name: heun}]"
    )
    assert result.exit_code == 0
    assert "mixture-2d euler [grid=karras-7 zero] budget 0 seed 0 NFE 2: missing: not run yet" in result.output
    assert "skipped: Heun takes two evaluations" in result.output
    assert re.search(r"^2 cells, \d+ tasks, \d+ to do: .*\b1 score$", result.output, re.MULTILINE)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("methods", "consistency"),
        ("solvers", "dpmpp-2m"),
        ("datasets", "digits"),
        ("teachers", "pretrain"),
        ("metrics", "fd_digits"),
        ("suites", "quickstart"),
    ],
)
def test_list_names_what_a_suite_may_use(kind, name):
    result = call("list", kind)
    assert result.exit_code == 0
    assert any(line.startswith(f"  {name} ") for line in result.output.splitlines())


def test_doctor_lists_every_file_with_its_licence_and_how_to_get_it(tmp_path, monkeypatch):
    """Nothing asks for them yet: absent, not missing."""
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path))
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    result = call("doctor")
    assert result.exit_code == 0
    lines = {line.split(":")[0]: line for line in result.output.splitlines()}
    assert set(lines) >= {f"file {name}" for name in weights.REGISTER}
    inception = lines["file inception-2015-12-05-6726825d.pth"]
    assert ": absent (by `curl -fL --create-dirs -o" in inception
    assert "licence: Apache 2.0" in inception


def test_solvers_lists_them_and_measures_their_orders(monkeypatch):
    from fewstep.bench.benchmarks import solver_orders as orders

    assert "dpmpp-2m" in call("solvers").output
    monkeypatch.setattr(orders, "ORDERS", {"euler": 1, "heun": 2})
    table = call("solvers", "--orders").output.splitlines()
    assert [line.split()[:2] for line in table[1:]] == [["euler", "1"], ["heun", "2"]]
    assert float(table[2].split()[2]) == pytest.approx(2, abs=0.1)


def test_doctor_finds_an_embedded_suite_complete():
    result = call("doctor", "quickstart")
    assert result.exit_code == 0
    assert "dataset digits: present" in result.output


def test_doctor_names_a_missing_package(monkeypatch):
    from fewstep.bench.commands import findings as doctor

    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name == "sklearn" else object())
    result = call("doctor")
    assert result.exit_code == 1
    assert "package scikit-learn: missing (pip install scikit-learn)" in result.output


def results(folder, suite, value):
    """A run folder with one row."""
    folder.mkdir()
    shutil.copytree(BOARD, folder, dirs_exist_ok=True)
    header, row = (BOARD / "results.csv").read_text().splitlines()[:2]
    cells = dict(zip(header.split(","), row.split(","), strict=True)) | {"suite": suite, "value": value}
    (folder / "results.csv").write_text(f"{header}\n{','.join(cells.values())}\n")
    return str(folder)


def test_two_values_for_one_row_are_one_line_and_labels_keep_them_apart(tmp_path):
    """On a terminal: exit code 2 with both folders and values; with a label for each, both rows."""
    mine, other = results(tmp_path / "mine", "mine", "114.5"), results(tmp_path / "other", "mine", "200.25")
    refused = call("leaderboard", mine, other)
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert all(word in refused.stderr for word in ("mine", "other", "114.5", "200.25", "--label"))
    for apart in (["--label", "ours", "--label", "theirs"], ["--by-run"]):
        shown = call("leaderboard", mine, other, *apart)
        assert shown.exit_code == 0, shown.stderr
        assert "114.5" in shown.output
        assert "200.2" in shown.output
    assert call("leaderboard", mine, other, "--label", "ours").exit_code == 2


def test_the_leaderboard_shows_the_methods_and_nfes_asked_for_within_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    shown = call(
        "leaderboard", str(BOARD), "--metric", "fd_digits", "--methods", "dpm*, SIM", "--nfe", "1,8", "--sort", "nfe:8"
    )
    assert shown.exit_code == 0, shown.stderr
    names = [line.split()[0] for line in shown.output.splitlines() if " ± " in line and not line.startswith("mean")]
    assert names == ["DPM-Solver++(2M)", "DPM-Solver-2", "SIM"]
    assert max(map(len, shown.output.splitlines())) <= 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "dpmpp"], "no row of method 'dpmpp'; there are euler, heun"),
        (["--nfe", "1,x"], "--nfe: expected numbers such as 1,2,4"),
        (["--nfe", "7"], "no row has NFE 7; there are 1, 2, 3"),
        (["--sort", "fid"], "cannot sort by 'fid': give one of method, budget, nfe:N"),
        (["--metric", "fid"], "no metric 'fid' in these results"),
    ],
)
def test_what_a_leaderboard_lacks_is_one_line_that_says_what_it_has(options, message):
    refused = call("leaderboard", str(BOARD), *options)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_the_papers_that_a_latex_table_cites_are_written_beside_it(tmp_path):
    file = tmp_path / "papers.bib"
    shown = call("leaderboard", str(BOARD), "--format", "latex", "--methods", "bespoke,sim", "--bib", str(file))
    assert shown.output.count(r"\begin{table}") == 1
    keys = re.findall(r"\\cite\{(.*?)\}", shown.output)
    assert keys
    assert sorted(re.findall(r"@\w+\{([^,]+),", file.read_text())) == sorted(keys)
