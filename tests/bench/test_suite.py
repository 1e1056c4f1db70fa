"""A suite's mistakes are named with their place, before anything heavy is loaded."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from fewstep.bench.errors import InputError
from fewstep.bench.suite import loading as suites
from fewstep.datasets.registry import DATASETS
from fewstep.methods import registry
from fewstep.methods.specs.teachers.pretrain import PretrainOptions

GOOD = {
    "name": "test",
    "datasets": "digits",
    "teachers": {"name": "pretrain"},
    "budgets": {"evaluations": 1000},
    "nfe": [1, 2],
    "metrics": ["fd_digits"],
    "methods": [{"name": "euler"}, {"name": "consistency"}],
}


def write(tmp_path, **changes):
    file = tmp_path / "suite.yaml"
    content = {**GOOD, **changes}
    file.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}, sort_keys=False))
    return str(file)


@pytest.mark.parametrize("name", suites.shipped_names())
def test_shipped_suites_are_valid(name):
    suite = suites.load(name)
    assert suite.name == name.rpartition("/")[2]
    assert suite.description


def test_single_values_stand_for_lists(tmp_path):
    suite = suites.load(write(tmp_path, seeds=3, nfe=4))
    assert (suite.seeds, suite.nfe, suite.datasets) == ([3], [4], ["digits"])


def test_a_suite_that_trains_nothing_needs_no_budget(tmp_path):
    assert suites.load(write(tmp_path, budgets=None, methods=["euler", "dpmpp-2m"])).budgets == []


def test_a_row_with_a_budget_needs_none_of_the_suite(tmp_path):
    rows = ["euler", {"name": "consistency", "budgets": {"evaluations": 1000}}]
    assert suites.load(write(tmp_path, budgets=None, methods=rows)).methods[1].budgets[0].amount == 1000


def test_names_stand_for_methods_with_their_defaults(tmp_path):
    mixed = suites.load(write(tmp_path, methods=["euler", {"name": "ddim", "options": {"eta": 1}}, "heun"]))
    assert [entry.name for entry in mixed.methods] == ["euler", "ddim", "heun"]
    assert mixed.methods[0] == suites.load(write(tmp_path, methods="euler")).methods[0]


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"sedes": [0]}, "sedes:", "unknown key 'sedes'; did you mean 'seeds'?"),
        ({"nfe": [1, 0]}, "- 0", "nfe[1]: must be greater than or equal to 1, not 0"),
        (
            {"budgets": {"evaluations": -5}},
            "evaluations:",
            "budgets[0].evaluations: must be greater than 0, not -5",
        ),
        (
            {"budgets": {"evaluations": 5, "images": 5}},
            "budgets:",
            "give exactly one of evaluations, flops, images, seconds, teacher",
        ),
        ({"budgets": None}, "name: test", "'budgets' is missing: consistency is trained"),
        ({"methods": ["euler", "hoin"]}, "- hoin", "methods[1].name: unknown method 'hoin'"),
        ({"methods": ["euler", {"name": "heun"}, "euler"]}, "- euler", "euler appears twice with the same options"),
        ({"datasets": "digit"}, "datasets:", "unknown dataset 'digit'; did you mean 'digits'?"),
        ({"metrics": ["fib"]}, "- fib", "unknown metric 'fib'; did you mean 'fid'?"),
        (
            {"datasets": "mixture-8x8"},
            "- fd_digits",
            "fd_digits is not defined on mixture-8x8, which has fd_law, rmse",
        ),
        (
            {"teachers": {"name": "pretrian"}},
            "teachers:",
            "'name' must be one of 'checkpoint', 'exact', 'module', 'pipeline', 'pretrain', 'shipped', not 'pretrian'",
        ),
        (
            {"teachers": {"name": "pretrain", "imags": 5}},
            "imags:",
            "unknown key 'imags'; did you mean 'images'?",
        ),
        (
            {"teachers": {"name": "pretrain", "network": {"name": "unet", "chanels": 8}}},
            "chanels:",
            "did you mean 'channels'?",
        ),
        (
            {"teachers": {"name": "pretrain", "network": {"name": "mlp"}}},
            "network:",
            "a mlp does not fit digits",
        ),
        ({"methods": [{"name": "eulr"}]}, "- name: eulr", "unknown method 'eulr'; did you mean 'euler'?"),
        (
            {"methods": [{"name": "euler"}, {"name": "euler"}]},
            "- name: euler",
            "euler appears twice with the same options",
        ),
        (
            {"teachers": [{"name": "pretrain"}, {"name": "pretrain", "seed": 1}]},
            "- name: pretrain",
            "teachers[1]: 'pretrain-unet-128k' appears twice; give one of them a label",
        ),
        (
            {"methods": [{"name": "consistency", "options": {"lerning_rate": 1}}]},
            "lerning_rate:",
            "unknown key 'lerning_rate'; did you mean 'learning_rate'?",
        ),
        (
            {"methods": [{"name": "euler", "options": {"grid": {"spacing": "karas"}}}]},
            "spacing:",
            "methods[0].options.grid.spacing: must be 'karras', 'log-snr', 'uniform', 'quadratic', 'ddim-uniform', ",
        ),
        (
            {"teachers": {"name": "pretrain", "guidance": 2}},
            "teachers:",
            "teachers[0]: guidance needs a teacher that knows labels and no label: set label_dropout, such as 0.1",
        ),
        (
            {"teachers": {"name": "pretrain", "label_dropout": 0, "guidance": 2}},
            "teachers:",
            "guidance needs a teacher that knows labels and no label",
        ),
        (
            {"teachers": {"name": "pretrain", "label_dropout": 1.5}},
            "label_dropout:",
            "teachers[0].label_dropout: must be less than 1, not 1.5",
        ),
        (
            {"teachers": {"name": "pretrain", "label_dropout": 0.1, "guidance": -1}},
            "guidance:",
            "teachers[0].guidance: must be greater than or equal to 0, not -1",
        ),
        ({"teachers": {"name": "exact", "guidance": 2}, "methods": "euler"}, "guidance:", "unknown key 'guidance'"),
        ({"teachers": {"name": "exact"}}, "- name: consistency", "teacher 'exact' is a formula"),
        ({"seeds": [0, 0]}, "- 0", "seeds[1]: 0 appears twice (first seeds[0] on line "),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, changes, place, message):
    file = write(tmp_path, **changes)
    with pytest.raises(InputError) as error:
        suites.load(file)
    text = str(error.value)
    assert message in text
    assert "\n" not in text
    line = int(text.split("suite.yaml:")[1].split(":")[0])
    assert place in Path(file).read_text().splitlines()[line - 1]


def test_a_conditional_teacher_on_data_without_labels_is_refused(tmp_path, monkeypatch):
    unlabelled = dataclasses.replace(DATASETS["digits"], name="strokes", classes=0)
    monkeypatch.setitem(DATASETS.entries, "strokes", unlabelled)
    teachers = [{"name": "pretrain"}, {"name": "pretrain", "label_dropout": 0.1}]
    suites.load(write(tmp_path, datasets="strokes", teachers=teachers[:1]))
    with pytest.raises(
        InputError, match=r":\d+: teachers\[1\]\.label_dropout: strokes has no labels, .*; leave it out$"
    ):
        suites.load(write(tmp_path, datasets="strokes", teachers=teachers))


def test_a_method_that_trains_without_labels_is_refused_beside_a_conditional_teacher(tmp_path, monkeypatch):
    unaware = dataclasses.replace(registry.method("consistency"), name="unaware", conditional=False)
    monkeypatch.setitem(registry.METHODS.entries, "unaware", unaware)
    methods = [{"name": "euler"}, {"name": "unaware"}]
    suites.load(write(tmp_path, methods=methods))
    file = write(tmp_path, methods=methods, teachers={"name": "pretrain", "label_dropout": 0.1})
    with pytest.raises(
        InputError, match=r"methods\[1\]\.name: unaware trains without labels, .*; leave one of the two out$"
    ):
        suites.load(file)


def test_a_teachers_label_shows_labels_and_guidance():
    def label(**options):
        return PretrainOptions(**options).shown()

    assert label() == "pretrain-unet-128k"
    assert label(label_dropout=0.1) == "pretrain-unet-128k-drop0.1"
    assert label(label_dropout=0.1, guidance=1) == "pretrain-unet-128k-drop0.1-w1"
    assert label(label_dropout=0.15, guidance=2.5) == "pretrain-unet-128k-drop0.15-w2.5"


def test_what_is_not_yaml_is_said_with_its_line(tmp_path):
    (tmp_path / "s.yaml").write_text("name: x\nnfe: [1\nmethods: 3\n")
    with pytest.raises(InputError, match=r"s\.yaml:3: not YAML"):
        suites.load(str(tmp_path / "s.yaml"))
    (tmp_path / "s.yaml").write_text("- 1\n")
    with pytest.raises(InputError, match="a suite is a mapping"):
        suites.load(str(tmp_path / "s.yaml"))


def test_yaml_cannot_run_code(tmp_path):
    (tmp_path / "s.yaml").write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="not YAML"):
        suites.load(str(tmp_path / "s.yaml"))


def test_an_unknown_suite_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        suites.load("quikstart")


def test_settings_change_values_at_any_depth(tmp_path):
    file = write(tmp_path)
    suite = suites.load(file, ["seeds=[5]", "budgets.evaluations=7", "methods.1.options.batch=3", "teachers.images=99"])
    assert suite.seeds == [5]
    assert suite.budgets[0].amount == 7
    assert suite.methods[1].checked().batch == 3
    assert suite.teachers[0].images == 99


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seeds", "expected KEY=VALUE"),
        ("methods.9.name=x", "the suite has nothing at 'methods.9.name'"),
        ("budgets.evaluations=-5", "--set budgets.evaluations=-5: must be greater than 0"),
        ("sedes=[1]", "--set sedes=[1]: unknown key 'sedes'; did you mean 'seeds'?"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, setting, message):
    with pytest.raises(InputError) as error:
        suites.load(write(tmp_path), [setting])
    assert message in str(error.value)


def test_a_solvers_grid_is_part_of_its_row(tmp_path):
    methods = [
        {"name": "euler", "options": {"grid": {"end": "append-zero", "noise_min": 0.1}}},
        {"name": "consistency"},
    ]
    euler, consistency = suites.load(write(tmp_path, methods=methods)).methods
    assert euler.label() == "grid=karras-7 append-zero noise_min=0.1"
    assert consistency.label() == ""
