"""Tasks are named by all that determines their result, and by nothing else."""

import subprocess
import sys
import time

import pytest
import yaml

from fewstep.bench.errors import InputError
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.select import select
from fewstep.bench.suite.loading import load
from fewstep.bench.suite.schema import Suite

SUITE = """
name: test
datasets: digits
teachers: {name: pretrain}
budgets: [{evaluations: 1000}, {evaluations: 2000}]
seeds: [0, 1]
nfe: [1, 2]
metrics: [fd_digits, rmse]
methods: [{name: euler}, {name: heun}, {name: consistency}]
"""


def plan(**changes):
    return make_plan(Suite.model_validate({**yaml.safe_load(SUITE), **changes}))


def names(a_plan, kind):
    return {task.name for task in a_plan.tasks() if task.kind == kind}


def test_each_thing_is_done_once_and_shared():
    tasks = plan().tasks()
    counts = {kind: len(names(plan(), kind)) for kind in ("teacher", "extractor", "truth", "train", "sample", "score")}
    assert len(tasks) == len({task.name for task in tasks})
    assert counts == {"teacher": 1, "extractor": 1, "truth": 2, "train": 4, "sample": 14, "score": 14}


def test_inputs_come_before_the_tasks_that_read_them():
    seen = set()
    for task in plan().tasks():
        assert all(needed.name in seen for needed in task.inputs.values())
        seen.add(task.name)


def test_what_a_method_cannot_do_is_a_skipped_cell_with_its_reason():
    skipped = [cell for cell in plan().cells if cell.score is None]
    assert {(cell.method, cell.nfe) for cell in skipped} == {("heun", 2)}
    assert all("odd NFE" in cell.skipped.reason for cell in skipped)


def test_names_do_not_depend_on_order_or_on_neighbours():
    alone = plan(methods=[{"name": "consistency"}], nfe=[2])
    assert names(alone, "train") == names(plan(), "train")
    assert names(alone, "score") < names(plan(), "score")
    assert names(plan(name="other"), "score") == names(plan(), "score")


def test_a_method_trained_per_nfe_has_a_run_for_each_and_others_share_one():
    methods = [{"name": "bespoke"}, {"name": "consistency"}]
    tasks = [task for task in plan(methods=methods, nfe=[2, 4], seeds=[0]).tasks() if task.kind == "train"]
    runs = [(task.params.method, task.params.nfe) for task in tasks if task.params.budget == {"evaluations": 1000.0}]
    assert sorted(runs, key=str) == [("bespoke", 2), ("bespoke", 4), ("consistency", None)]


def test_guidance_scales_share_the_trained_teacher_and_nothing_after_it():
    conditional = {"name": "pretrain", "label_dropout": 0.1}
    plain = plan(teachers=[conditional])
    scales = plan(teachers=[conditional, {**conditional, "guidance": 1}, {**conditional, "guidance": 3}])
    assert names(scales, "teacher") == names(plain, "teacher")
    assert names(scales, "extractor") == names(plain, "extractor")
    for kind in ("truth", "train", "sample", "score"):
        assert len(names(scales, kind)) == 3 * len(names(plain, kind))
        assert names(plain, kind) < names(scales, kind)
    for task in scales.tasks():
        if task.kind == "teacher":
            assert "guidance" not in task.params.teacher
            assert task.label == "teacher pretrain-unet-128k-drop0.1 on digits"
    assert [cell.teacher for cell in scales.cells[:: len(plain.cells)]] == [
        "pretrain-unet-128k-drop0.1",
        "pretrain-unet-128k-drop0.1-w1",
        "pretrain-unet-128k-drop0.1-w3",
    ]


def test_options_decide_which_nfes_a_learned_solver_reaches():
    def skipped(order):
        methods = [{"name": "bespoke", "options": {"order": order}}]
        return {cell.nfe for cell in plan(methods=methods, nfe=[1, 2, 3]).cells if cell.score is None}

    assert skipped(2) == {1, 3}
    assert skipped(1) == set()


@pytest.mark.parametrize(
    ("changes", "renamed"),
    [
        ({"teachers": {"name": "pretrain", "seed": 1}}, {"teacher", "truth", "train", "sample", "score"}),
        (
            {"teachers": {"name": "pretrain", "label_dropout": 0.1}},
            {"teacher", "truth", "train", "sample", "score"},
        ),
        ({"budgets": {"evaluations": 3000}}, {"train", "sample", "score"}),
        ({"methods": [{"name": "euler", "options": {"grid": {"rho": 5}}}]}, {"sample", "score"}),
        ({"samples": 10}, {"truth", "sample", "score"}),
        ({"truth": {"tolerance": 1e-4}}, {"truth", "score"}),
        ({"metrics": ["fd_digits"]}, {"score"}),
        ({"name": "other", "description": "x", "seeds": [1], "nfe": [2]}, set()),
    ],
)
def test_a_change_renames_what_it_affects_and_nothing_else(changes, renamed):
    before, after = plan(), plan(**changes)
    kinds = ("teacher", "extractor", "truth", "train", "sample", "score")
    assert {kind for kind in kinds if names(after, kind) - names(before, kind)} == renamed


def test_planning_loads_no_torch():
    code = "import sys; from fewstep.bench.plan.cells import make_plan; from fewstep.bench.suite.loading import load;"
    code += "make_plan(load('quickstart')).tasks(); assert not {'torch', 'pandas', 'wandb'} & set(sys.modules)"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert time.perf_counter() - started < 5


def test_only_selects_cells():
    chosen = select(plan(), ["method=euler", "nfe=1", "nfe=2", "seed=1"])
    assert {(cell.method, cell.nfe, cell.seed) for cell in chosen.cells} == {("euler", 1, 1), ("euler", 2, 1)}


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("method=eulr", "did you mean 'euler'"),
        ("color=red", "KEY one of method"),
        ("method", "expected KEY=VALUE"),
    ],
)
def test_a_wrong_selection_is_named(only, message):
    with pytest.raises(InputError, match=message):
        select(plan(), [only])


def test_ten_thousand_cells_are_planned_in_seconds():
    started = time.perf_counter()
    big = plan(seeds=list(range(500)), nfe=list(range(1, 11)), methods=[{"name": "euler"}, {"name": "dpmpp-2m"}])
    assert len(big.cells) == 10_000
    big.tasks()
    assert time.perf_counter() - started < 6


def test_the_quickstart_is_what_the_readme_says():
    suite = load("quickstart")
    assert (suite.seeds, suite.samples, suite.budgets[0].label()) == ([0, 1], 1797, "100000 evaluations")


def test_a_teachers_label_is_shown_and_is_no_part_of_what_is_computed():
    called, plain = plan(teachers={"name": "pretrain", "label": "our U-Net"}), plan()
    assert {cell.teacher for cell in called.cells} == {"our U-Net"}
    assert {cell.teacher for cell in plain.cells} == {"pretrain-unet-128k"}
    assert [task.name for task in called.tasks()] == [task.name for task in plain.tasks()]
