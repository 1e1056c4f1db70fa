"""All that is wrong with a suite is said at once, each mistake with its line."""

import pytest

from fewstep.bench.errors import InputError
from fewstep.bench.suite import loading as suites

from .in_process import call

GOOD = """\
name: good
datasets: digits
teachers: {name: pretrain}
budgets: {evaluations: 1000}
nfe: [2]
metrics: [fd_digits]
methods:
  - name: euler
  - name: consistency
"""


def said(tmp_path, text, *settings):
    file = tmp_path / "s.yaml"
    file.write_text(text)
    try:
        suites.load(str(file), settings)
    except InputError as error:
        return [line.removeprefix(f"{file}:") for line in str(error).splitlines()]
    return []


MANY = """\
name: many
datasets: [digits, diggits]
teachers:
  - {name: pretrain, imags: 5}
  - {name: pretrain, network: {name: mlp}, label: mlp}
budgets: {evaluations: -3}
nfe: [2, 0]
sedes: [1]
metrics: [fd_digits, fib]
references: {rmse: none.npz}
methods:
  - hoin
  - {name: euler, options: {grid: {spacing: ddim-uniform}}, colour: red}
  - {name: consistency, options: {lerning_rate: 1, batch: 0}}
  - {name: boot, nfe: [4, 8]}
  - {name: heun, nfe: [3, 3]}
"""


def test_schema_and_rules_speak_together(tmp_path):
    lines = said(tmp_path, MANY)
    expected = [
        (2, "datasets[1]: unknown dataset 'diggits'"),
        (4, "teachers[0].imags: unknown key 'imags'; did you mean 'images'?"),
        (5, "teachers[1].network: a mlp does not fit digits"),
        (6, "budgets[0].evaluations: must be greater than 0, not -3"),
        (7, "nfe[1]: must be greater than or equal to 1, not 0"),
        (8, "sedes: unknown key 'sedes'; did you mean 'seeds'?"),
        (9, "metrics[1]: unknown metric 'fib'"),
        (10, "references.rmse: rmse is not among the suite's metrics"),
        (12, "methods[0].name: unknown method 'hoin'"),
        (13, "methods[1].colour: unknown key 'colour'"),
        (13, "methods[1].options.grid.spacing: ddim-uniform is a grid of labels"),
        (14, "methods[2].options.batch: must be greater than or equal to 1, not 0"),
        (14, "methods[2].options.lerning_rate: unknown key 'lerning_rate'; did you mean 'learning_rate'?"),
        (15, "methods[3].nfe: boot reaches none of these NFEs"),
        (16, "methods[4].nfe[1]: 3 appears twice"),
    ]
    assert len(lines) == len(expected), "\n".join(lines)
    for line, (number, message) in zip(lines, expected, strict=True):
        assert line.startswith(f"{number}: {message}"), line


def test_what_follows_from_a_mistake_is_not_said(tmp_path):
    assert said(tmp_path, GOOD) == []
    (line,) = said(tmp_path, GOOD.replace("nfe: [2]", "nfe: x"))
    assert line.startswith("5: nfe[0]: must be a valid integer")
    (line,) = said(tmp_path, GOOD.replace("nfe: [2]", "nfes: [2]"))
    assert line == "5: nfes: unknown key 'nfes'; did you mean 'nfe'?"
    (line,) = said(tmp_path, GOOD.replace("{name: pretrain}", "{name: pretrain, label_dropout: 2, guidance: 1}"))
    assert line.startswith("3: teachers[0].label_dropout: must be less than 1")
    (line,) = said(tmp_path, GOOD.replace("datasets: digits", "datasets: diggits"))
    assert "unknown dataset 'diggits'" in line


def test_a_mistake_of_a_setting_comes_with_those_of_the_file(tmp_path):
    lines = said(tmp_path, GOOD.replace("name: euler", "name: eulr"), "samples=0")
    assert any(line.startswith("--set samples=0: must be greater than or equal to 1") for line in lines)
    assert any("unknown method 'eulr'; did you mean 'euler'?" in line for line in lines)
    assert len(lines) == 2


def test_places_are_those_of_the_file_whatever_was_left_out(tmp_path):
    text = GOOD.replace(
        "  - name: euler\n", "  - eulr\n  - name: euler\n    options: {afs: 3}\n  - name: heun\n    nfe: 2\n"
    )
    numbers = [line.partition(" ")[0] for line in said(tmp_path, text)]
    assert numbers == ["8:", "10:", "12:"]


def test_the_command_line_prints_a_line_for_each_and_ends_with_2(tmp_path):
    (tmp_path / "s.yaml").write_text(MANY)
    result = call("run", tmp_path / "s.yaml", "--dry-run")
    assert result.exit_code == 2
    assert all(line.startswith(f"fewstep: {tmp_path}/s.yaml:") for line in result.stderr.splitlines())
    assert len(result.stderr.splitlines()) == 15


@pytest.mark.parametrize("key", ["name", "nfe", "metrics", "methods", "teachers", "datasets"])
def test_a_missing_key_hides_no_mistake_elsewhere(tmp_path, key):
    kept, drop = [], False
    for line in GOOD.splitlines():
        drop = line.startswith(key) or (drop and line.startswith(" "))
        kept += [] if drop else [line]
    lines = said(tmp_path, "\n".join([*kept, "samples: 0", ""]))
    assert any("samples: must be greater than or equal to 1" in line for line in lines)
    assert any(f"{key!r} is missing" in line for line in lines)
    assert len(lines) == 2, lines
