"""The conformance kit passes everything built in, and the command says what it found."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fewstep.bench.commands.check import checked, registers
from fewstep.bench.commands.conformance import options as check_options
from fewstep.bench.commands.main import main
from fewstep.methods import registry

QUICK = {
    *("euler", "ddpm", "heun", "rk4", "rk45", "dpm-solver-3", "dpmpp-2s", "unipc-3", "pndm"),
    *("consistency", "progressive", "sim", "iia"),
}
"""Methods that are checked every time, at least one of each kind; the others are slow."""
SLOW_METRICS = {"kid_subsets"}


def built_in(kind, slow):
    """Every name of a kind as a parameter, some marked slow."""
    return [pytest.param(name, marks=pytest.mark.slow if slow(name) else ()) for name in registers()[kind]]


def failures(kind, name):
    return [verdict.line for verdict in checked(kind, registers()[kind][name]) if verdict.state == "FAILED"]


@pytest.mark.parametrize("name", built_in("method", lambda name: name not in QUICK))
def test_every_method_conforms(name):
    assert failures("method", name) == []


@pytest.mark.parametrize("name", built_in("solver", lambda name: name not in QUICK))
def test_every_solver_conforms(name):
    assert failures("solver", name) == []


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("solver", "dpmpp-2m"), ("method", "consistency"), ("method", "boot")])
def test_methods_conform_on_images_too(kind, name):
    verdicts = checked(kind, registers()[kind][name], "digits")
    assert [verdict.line for verdict in verdicts if verdict.state == "FAILED"] == []


@pytest.mark.parametrize("name", built_in("dataset", lambda name: False))
def test_every_data_set_conforms(name):
    assert failures("dataset", name) == []


@pytest.mark.parametrize("name", built_in("metric", lambda name: name in SLOW_METRICS))
def test_every_metric_conforms(name):
    assert failures("metric", name) == []


def test_the_executor_of_this_machine_conforms():
    assert failures("executor", "local") == []


def command(*arguments):
    return CliRunner().invoke(main, ["check", *arguments])


def test_a_line_for_each_property_and_what_it_adds_up_to():
    answer = command("digits")
    assert answer.exit_code == 0
    *lines, last = answer.output.splitlines()
    assert all(line.partition(": ")[0] in ("ok", "not applicable") for line in lines)
    assert last == f"dataset digits: {len(lines)} properties, 0 failed"


def test_the_verdicts_as_json():
    found = json.loads(command("mixture-2d", "--json").stdout)
    assert (found["name"], found["kind"]) == ("mixture-2d", "dataset")
    assert {row["state"] for row in found["properties"]} == {"ok", "not applicable"}


def test_what_is_missing_is_not_applicable_and_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path))
    answer = command("cifar10")
    assert answer.exit_code == 0
    assert "not applicable: labels are in range: missing" in answer.output
    assert "`fewstep prepare cifar10 --from SOURCE`" in answer.output


def test_an_unknown_name_is_one_line_with_the_nearest_and_no_torch():
    code = (
        "import sys\nfrom fewstep.bench.commands.main import main\n"
        "try: main(['check', 'consistncy'])\n"
        "except SystemExit as stop: assert stop.code == 2\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 1
    assert "no method, solver, data set, metric or executor is called 'consistncy'" in done.stderr
    assert "did you mean 'consistency'?" in done.stderr


def test_a_name_of_another_kind_is_told():
    answer = command("euler", "--kind", "metric")
    assert answer.exit_code == 2
    assert "no metric is called 'euler'" in answer.output


def test_variants_change_one_option_at_a_time():
    options = registry.method("heun").options
    default, *others = check_options.variants(options)
    assert default == options()
    labels = [check_options.label(other) for other in others]
    assert {" (grid.end=min)", " (afs=True)", " (path=vp-cosine)"} <= set(labels)
    assert all(label.count("=") == 1 for label in labels)
    assert len(set(labels)) == len(labels)
