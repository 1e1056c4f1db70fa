"""`fewstep list` and `fewstep show`: every name in groups, wrapped to the terminal, and all about one of them."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from typing import Annotated, Literal

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field

from fewstep.bench.commands import list as listing
from fewstep.bench.commands import show as showing
from fewstep.bench.commands.catalogue import SHELVES
from fewstep.bench.commands.completion import complete_name, complete_suite
from fewstep.bench.commands.main import main
from fewstep.bench.commands.option_table import options_of, rows
from fewstep.bench.commands.reachable import progression
from fewstep.bench.metrics.extractors import registry
from fewstep.bench.metrics.register import defined
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.suite.loading import load, shipped_names
from fewstep.datasets.registry import DATASETS
from fewstep.methods.registry import METHODS, TEACHERS

KINDS = list(SHELVES)
NAMES = sorted({name for shelf in SHELVES.values() for name in shelf.names()})


def call(*arguments, columns=80):
    return CliRunner().invoke(main, list(arguments), env={"COLUMNS": str(columns)})


def objects(*arguments):
    return json.loads(call(*arguments, "--json").stdout)


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """A machine with every package and none of the published files."""
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(registry, "find_spec", lambda name: True)
    return tmp_path


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("kind", KINDS)
def test_no_line_of_a_list_is_longer_than_the_terminal(kind, columns):
    lines = call("list", kind, columns=columns).output.splitlines()
    assert max(map(len, lines)) <= columns
    assert not any(first == second == "" for first, second in pairwise(lines))


def test_a_wider_terminal_gets_fewer_lines():
    assert call("list", "suites", columns=120).output.count("\n") < call("list", "suites").output.count("\n")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_wrapped_but_for_addresses_and_paths(name, columns):
    result = call("show", name, columns=columns)
    assert result.exit_code == 0
    for line in result.output.splitlines():
        assert len(line) <= columns or "/" in line.split()[-1], line


def test_methods_are_listed_as_solvers_learned_solvers_and_students():
    lines = call("list", "methods").output.splitlines()
    headings = [line for line in lines if line and not line.startswith(" ")]
    assert headings == ["Solvers", "Learned solvers", "Students", "Rows made elsewhere"]
    named = [match[1] for line in lines if (match := re.match(r"  (\S+)", line)) and match[1] in METHODS]
    assert sorted(named) == sorted(METHODS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_as_json_has_the_same_keys_for_every_entry(kind):
    found = objects("list", kind)
    assert {entry["name"] for entry in found} == set(SHELVES[kind].names())
    assert len({tuple(entry) for entry in found}) == 1
    assert {"name", "kind", "group", "display", "summary", "papers"} <= set(found[0])


def test_the_json_of_methods_and_metrics_says_what_programs_ask(no_weights):
    methods = {entry["name"]: entry for entry in objects("list", "methods")}
    assert methods["bespoke"]["group"] == "learned solvers"
    assert methods["bespoke"]["per_nfe"] is True
    assert methods["consistency"]["display"] == "Consistency distillation"
    assert methods["consistency"]["papers"] == ["song2023consistency"]
    metrics = {entry["name"]: entry for entry in objects("list", "metrics")}
    assert metrics["fid"]["samples"] == 50_000
    assert metrics["fid"]["ready"] is False
    assert metrics["fid"]["missing"].startswith(f"missing {no_weights}")
    assert metrics["recall"]["higher_is_better"] is True


def test_metrics_that_cannot_run_here_have_a_mark_and_ready_leaves_them_out(no_weights):
    text = call("list", "metrics", columns=120).output
    assert "50,000 samples or more, not ready" in text
    assert "Not ready: `fewstep show NAME` says what is missing" in text
    assert str(no_weights) not in text
    ready = call("list", "metrics", "--ready").output
    assert "fd_digits" in ready
    assert "  fid " not in ready
    assert "ot ready" not in ready
    refused = call("list", "suites", "--ready")
    assert refused.exit_code == 2
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("spec", [*METHODS.values(), *TEACHERS.values()], ids=lambda spec: spec.name)
def test_every_option_is_shown_with_its_default_and_meaning(spec):
    kind = "teacher" if spec.name in TEACHERS else "method"
    text = " ".join(call("show", spec.name, "--kind", kind).output.split())
    (page,) = objects("show", spec.name, "--kind", kind)
    fields = spec.options.model_fields.items()
    assert [option["name"] for option in page["options"]] == [field.alias or name for name, field in fields]
    for option in page["options"]:
        assert option["description"]
        assert f"{option['name']} " in text
        assert " ".join(option["description"].split()) in text


def test_a_method_says_its_nfes_its_cost_and_its_papers():
    text = call("show", "heun", columns=120).output
    assert "NFE     1, 3, 5, ..., 31 (of 1 to 32, with the default options)" in text
    assert "not 2, 4, 6, ..., 32: Heun takes two evaluations a step and one in the last" in text
    assert "no budget" in text
    assert "karras2022elucidating" in text
    bespoke = " ".join(call("show", "bespoke").output.split())
    assert "one run for each NFE, each with the whole budget" in bespoke
    assert "`fitted_on`" in bespoke
    assert "whose weights it starts from" in " ".join(call("show", "sim").output.split())


def test_a_paper_is_cited_by_authors_year_title_and_arxiv():
    text = " ".join(call("show", "heun").output.split())
    assert "Karras et al. 2022: Elucidating the Design Space" in text
    assert "arXiv:2206.00364 (karras2022elucidating)" in text
    assert "Luhman & Luhman 2021: Knowledge Distillation" in " ".join(call("show", "knowledge").output.split())


@pytest.mark.parametrize("name", ["consistency", "progressive", "dpm-solver-3", "rk45", "tract"])
def test_the_nfes_of_a_page_are_those_that_the_method_plans(name):
    (page,) = objects("show", name)
    refused = sorted(nfe for group in page["nfe_refused"].values() for nfe in group)
    assert sorted(page["nfe"] + refused) == list(range(1, 33))
    for nfe in page["nfe"]:
        METHODS[name].steps_for(nfe)


def test_options_inside_options_are_indented_below_them():
    lines = call("show", "pretrain").output.splitlines()
    place = {line.strip(): i for i, line in enumerate(lines)}
    assert place["with name: unet"] < place["with name: mlp"]
    channels = next(line for line in lines if line.strip().startswith("channels "))
    assert channels.startswith("      channels ")
    assert "16 (integer in [8, 4096], a multiple of 8)" in channels
    (iia,) = objects("show", "iia")
    grid = next(option for option in iia["options"] if option["name"] == "grid")
    assert "karras" in next(option["choices"] for option in grid["options"] if option["name"] == "spacing")


def test_values_are_said_as_a_suite_writes_them():
    class Model(BaseModel):
        share: float | None = Field(None, gt=0, le=1, description="A share.")
        sides: tuple[int, ...] = Field((1, 2), min_length=1)
        mode: bool | Literal["always"] = True
        label: Annotated[str, Field(max_length=9)] | None = None
        rate: float = 1e-3
        file: str

    said = {name: lines[0] for name, lines in rows(options_of(Model))}
    assert said == {
        "share": "null (number in (0, 1] | null)",
        "sides": "[1, 2] (list of integers, at least 1)",
        "mode": "true (true | false | always)",
        "label": "null (text, at most 9 | null)",
        "rate": "0.001 (number)",
        "file": "required (text)",
    }


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([1], "1"),
        ([1, 2, 4, 8], "1, 2, 4, 8"),
        ([1, 2, 4, 8, 16], "1, 2, 4, 8, 16"),
        ([3, 4, 5, 6], "3 to 6"),
        ([1, 3, 5, 7, 9], "1, 3, 5, ..., 9"),
        ([2, 3, 5, 6, 7, 8], "2, 3, 5 to 8"),
    ],
)
def test_numbers_are_shortened_only_where_it_is_plain_what_is_left_out(numbers, text):
    assert progression(numbers) == text


def test_a_dataset_says_what_it_holds_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path))
    (page,) = objects("show", "cifar10")
    spec = DATASETS["cifar10"]
    assert page["shape"] == [3, 32, 32]
    assert page["metrics"] == defined(spec.metrics, spec.quality)
    assert page["here"] is False
    text = " ".join(call("show", "cifar10").output.split())
    assert f"{tmp_path / 'cifar10-32.zip'}, missing" in text
    assert "`fewstep prepare cifar10 --from cifar-10-python.tar.gz`, about 0.3 GB" in text
    assert spec.licence in text


def test_a_metric_says_what_it_needs_and_what_is_missing(no_weights):
    text = " ".join(call("show", "fid").output.split())
    assert "inception-2015-12-05-6726825d.pth (licence: Apache 2.0" in text
    assert f"ready no: missing {no_weights}" in text
    assert "get it by `curl" in text
    assert "cifar10" in text
    assert "ready yes" in " ".join(call("show", "fd_digits").output.split())
    assert "a caption for each image" in call("show", "clip_score").output


@pytest.mark.parametrize("name", shipped_names())
def test_a_suite_says_its_grid_and_counts_its_cells(name):
    (page,) = objects("show", name, "--kind", "suite")
    assert page["cells"] == len(make_plan(load(name)).cells) > 0
    assert page["summary"]
    assert page["file"].endswith(f"{name}.yaml")


def test_a_file_of_a_suite_can_be_shown(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\ndescription: One cell.\ndatasets: mixture-2d\nteachers: {name: exact}\n"
        "budgets: {evaluations: 1000}\nnfe: 2\nmetrics: rmse\nmethods: {name: euler}\n"
    )
    (page,) = objects("show", str(file))
    assert page["cells"] == 1
    assert page["summary"] == "One cell."


def test_a_name_of_two_kinds_shows_both_unless_one_is_chosen():
    assert [page["kind"] for page in objects("show", "digits")] == ["dataset", "suite"]
    assert [page["kind"] for page in objects("show", "digits", "--kind", "suite")] == ["suite"]
    assert "digits (dataset)" in (text := call("show", "digits").output)
    assert "digits (suite)" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "quikstart"], "did you mean 'quickstart' (suite)"),
        (["show", "consistancy"], "'consistency' (method)"),
        (["show", "digit"], "'digits' (dataset, suite)"),
        (["show", "consistency", "--kind", "solver"], "no solver is called 'consistency'"),
        (["show", "?"], "`fewstep list KIND` has the names"),
    ],
)
def test_an_unknown_name_gets_one_line_with_the_nearest_of_all_kinds(arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_kinds_of_the_command_line_are_those_of_the_catalogue():
    assert list(listing.KINDS) == list(SHELVES)
    assert list(showing.KINDS) == [shelf.kind for shelf in SHELVES.values()]


def test_a_shell_completes_names():
    assert complete_name(None, None, "consistency") == ["consistency", "consistency-training"]
    assert complete_suite(None, None, "quick") == ["quickstart"]


def test_solvers_is_list_solvers():
    assert call("solvers").output == call("list", "solvers").output


def test_list_and_show_answer_without_torch_and_in_under_a_second_of_cpu():
    code = (
        "import sys, time; import pydantic, yaml\n"
        "second, began = max(1, 8 * time.process_time()), time.process_time()\n"  # of a slow machine
        "from click.testing import CliRunner; from fewstep.bench.cli import main\n"
        "run = CliRunner().invoke\n"
        "for command in ('list executors', 'list metrics --json', 'show consistency', 'show digits', 'show fid',"
        " 'show pretrain', 'show local', 'show learned-solvers --json'):\n"
        "    assert run(main, command.split()).exit_code == 0, command\n"
        "    took, began = time.process_time() - began, time.process_time()\n"
        "    assert took < second, (command, took)\n"
        "assert not {'torch', 'pandas', 'wandb', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
