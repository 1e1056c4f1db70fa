"""A docstring outdates nothing; one constant outdates what is computed by it, and nothing else."""

import ast
import importlib
import shutil
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from fewstep.bench.plan import source_version as sources
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.run import worker
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.bench.suite.schema import Suite
from fewstep.methods.register import RegisterError
from fewstep.tests.bench.source_copies import HOUSE, ROOMS, bump, copied, forget, rewritten, use

TRACED = """
name: traced
datasets: mixture-8x8
teachers: {name: pretrain, images: 256}
budgets: {evaluations: 3000}
nfe: 4
samples: 8
truth: {samples: 2, tolerance: 1e-2}
metrics: [rmse]
device: cpu
methods:
  - {name: deis-tab3}
  - {name: consistency}
  - {name: d-ode, options: {solver: ipndm}}
  - {name: knowledge, nfe: 1, options: {solver: unipc-3, solver_nfe: 4}}
  - {name: progressive, nfe: 1}
  - {name: sim, nfe: 1}
"""
PAIRS = """
name: pairs
datasets: digits
teachers: {name: pretrain}
budgets: {evaluations: 1000}
nfe: 1
metrics: [fd_digits]
methods: [{name: euler}, {name: knowledge}, {name: knowledge, options: {solver: unipc-3}}, {name: progressive}]
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("original") / "fewstep")


@pytest.fixture
def house(original, tmp_path, monkeypatch):
    """A copy of the package, of which all source versions are taken."""
    copy = shutil.copytree(original, tmp_path / "fewstep")
    use(copy, monkeypatch)
    yield copy
    monkeypatch.undo()
    forget()


def keys(suite):
    """(kind, method) and key of each task by its question, which no code enters."""
    forget()
    return {task.question: (told(task), task.key) for task in make_plan(suite).tasks()}


@cache
def unchanged(name):
    return keys(load(name))


def told(task):
    params = task.inputs["sample"].asked if task.kind == "score" else task.asked
    solver = params.get("options", {}).get("solver", "")
    return task.kind, " ".join([params["method"], solver]).strip() if "method" in params else ""


def changed(edit, suite=None):
    """(kind, method) of the tasks that have another key after `edit`: of a suite, or of quickstart."""
    before = unchanged("quickstart") if suite is None else keys(suite)
    edit()
    after = keys(load("quickstart") if suite is None else suite)
    return {task for question, (task, key) in before.items() if key != after[question][1]}


class Reworded(ast.NodeTransformer):
    """Everything that is prose is other prose: docstrings, descriptions, messages of raise, assert and log."""

    count = 0

    def text(self, node):
        if isinstance(node, ast.JoinedStr):
            Reworded.count += 1
            values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
            return ast.JoinedStr([ast.Constant("other words"), *values])
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            Reworded.count += 1
            return ast.Constant("other words")
        return node

    def visit_Expr(self, node):
        self.generic_visit(node)
        node.value = self.text(node.value)
        call = node.value
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith(("log.", "warnings.warn")):
            call.args = [self.text(argument) for argument in call.args]
        return node

    def visit_Raise(self, node):
        self.generic_visit(node)
        if isinstance(node.exc, ast.Call):
            node.exc.args = [self.text(argument) for argument in node.exc.args]
        return node

    def visit_Assert(self, node):
        self.generic_visit(node)
        node.msg = ast.Constant("another message")
        return node

    def visit_keyword(self, node):
        self.generic_visit(node)
        if node.arg in ("summary", "description", "licence", "display", "url"):
            node.value = self.text(node.value)
        return node


def test_other_words_comments_and_layout_outdate_nothing(house):
    assert changed(lambda: rewritten(house, Reworded().visit)) == set()
    assert Reworded.count > 500


def test_the_licences_and_addresses_of_published_files_outdate_nothing(house):
    table = house / "bench" / "published_files.py"

    def edit():
        table.write_text(table.read_text().replace("https://", "https://mirror.").replace("Apache 2.0", "MIT"))

    assert changed(edit) == set()


def test_a_new_entry_in_a_register_outdates_nothing(house):
    def edit():
        for file in ("methods/registry.py", "datasets/registry.py", "datasets/specs/digits.py"):
            with (house / file).open("a") as stream:
                stream.write("\nfrom . import another\nANOTHER = 1\n")

    assert changed(edit) == set()


@pytest.mark.parametrize(
    ("file", "function", "method"),
    [
        ("methods/distillation/consistency.py", "", "consistency"),
        ("methods/distillation/sim.py", "l2_loss", "sim"),
        ("methods/distillation/knowledge.py", "", "knowledge dpmpp-2m"),
        ("methods/distillation/tract.py", "", "tract"),
        ("methods/learned_solvers/bespoke.py", "", "bespoke"),
        ("methods/learned_solvers/d_ode.py", "prior_eps", "d-ode ddim-data"),
        ("methods/learned_solvers/iia.py", "", "iia heun"),
    ],
)
def test_a_constant_of_one_method_outdates_that_method_and_no_other(house, file, function, method):
    found = changed(lambda: bump(house / file, function))
    assert found == {(kind, method) for kind in ("train", "sample", "score")}


def test_a_constant_of_a_solver_outdates_its_rows_and_the_methods_that_use_it(house):
    found = changed(lambda: bump(house / "methods" / "solvers" / "deis.py"))
    learned = {(kind, "d-ode ddim-data") for kind in ("train", "sample", "score")}
    assert found == learned | {("sample", "deis-tab3"), ("score", "deis-tab3")}


@pytest.mark.parametrize(
    ("solver", "methods"),
    [
        ("dpm_solver", ["knowledge dpmpp-2m"]),
        # DPM-Solver++ can be corrected by UniC.
        ("unipc", ["knowledge dpmpp-2m", "knowledge unipc-3"]),
        ("euler", ["progressive"]),
    ],
)
def test_a_solver_that_is_looked_up_by_name_outdates_the_method_that_looks_it_up(house, solver, methods):
    suite = Suite.model_validate(yaml.safe_load(PAIRS))
    file = house / "methods" / "solvers" / f"{solver}.py"
    found = changed(lambda: file.write_text(file.read_text() + "\nADDED = 1\n"), suite)
    rows = {("sample", "euler"), ("score", "euler")} if solver == "euler" else set()
    assert found == rows | {(kind, method) for kind in ("train", "sample", "score") for method in methods}


@pytest.mark.parametrize(
    ("file", "spared"),
    [
        ("methods/denoiser.py", set()),
        ("datasets/digits.py", set()),
        ("datasets/classifiers.py", {"teacher", "truth", "train", "sample"}),
        ("bench/training/feature_classifier.py", {"teacher", "truth", "train", "sample"}),
        ("bench/metrics/manifold.py", {"teacher", "extractor", "truth", "train", "sample"}),
        ("bench/metrics/extractors/quantise.py", {"teacher", "extractor", "train"}),
    ],
)
def test_what_all_rest_on_outdates_all_that_rest_on_it(house, file, spared):
    tasks = {task for task, _ in unchanged("quickstart").values()}
    assert changed(lambda: bump(house / file)) == {task for task in tasks if task[0] not in spared}


@pytest.mark.slow
def test_every_module_that_runs_is_part_of_the_version(tmp_path):
    """What a task really calls, found by tracing it: nothing may be missing but what says so and what runs tasks."""
    store = Store(tmp_path)
    store.prepare()
    rooms = [HOUSE / room for room in ROOMS]
    apart = {f"fewstep.bench.{name}" for name in ("run.worker", "stages.context", "plan.task", "plan.kinds")}
    tasks = make_plan(Suite.model_validate(yaml.safe_load(TRACED))).tasks()
    # Imported before it is traced: what a module runs while it is loaded is not what the task calls.
    for module in {name for task in tasks for name in task.modules}:
        importlib.import_module(module)
    for task in tasks:
        files = set()
        with store.work(task.name) as folder:
            sys.setprofile(lambda frame, event, argument, files=files: files.add(frame.f_code.co_filename))
            try:
                worker._make(task.to_json(), store, folder, lambda share: None)
            finally:
                sys.setprofile(None)
        ran = {module_of(Path(file)) for file in files if any(map(Path(file).is_relative_to, rooms))}
        counts = {name for name in ran if sources._read(name).part and not sources._read(name).index}
        assert counts - apart <= sources.digests(*task.modules).keys(), task.label


def module_of(file):
    return ".".join(["fewstep", *file.relative_to(HOUSE).with_suffix("").parts]).removesuffix(".__init__")


def test_every_solver_that_a_method_looks_up_reaches_its_version():
    """Names that are neither written in the call nor values of options would not be found: see plan/code.py."""
    computed = set()
    for file in (HOUSE / "methods").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "solvers.get":
                computed.add((file.stem, ast.unparse(node.args[0])))
    computed.remove(("progressive", "'euler'"))
    assert computed == {
        ("dfno", "options.solver"),
        ("pairs", "options.solver"),
        ("d_ode", "name"),
        ("iia", "options.base"),
    }


def test_an_index_gives_what_its_type_checking_says():
    """Names found by __getattr__ are followed as `if TYPE_CHECKING` has them: both must mean the same module."""
    index = importlib.import_module("fewstep.bench.metrics")
    names = [found for found in sources._read("fewstep.bench.metrics").imports if found.module.startswith("fewstep.")]
    assert names
    for found in names:
        assert getattr(index, found.name) is getattr(importlib.import_module(found.module), found.name)


def test_registers_of_names_are_not_followed():
    modules = {name for task in make_plan(load("digits")).tasks() for name in sources.digests(*task.modules)}
    apart = ("methods.registry", "methods.register", "datasets.registry", "bench.published_files", "bench.store")
    assert not modules & {f"fewstep.{name}" for name in apart}
    assert modules > {"fewstep.methods.paths", "fewstep.bench.stages.score", "fewstep.bench.metrics.frechet"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """package(**files): the version of `aplugin.method` where the package holds these files."""
    folder = tmp_path / "aplugin"
    folder.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def version(**files):
        for name, text in {"__init__": "", **files}.items():
            (folder / f"{name}.py").write_text(text)
        forget()
        return sources.version("aplugin.method")

    yield version
    forget()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "# a comment\nx  =  (1)\n"),
        ("def f():\n    return 1", 'def f():\n    """Words."""\n    "more"\n    return 1'),
        ("class A:\n    x: int = 1", 'class A:\n    """Words."""\n\n    x: int = 1\n    """More."""'),
        ("f(x, summary='a', description=f'{x}')", "f(x, papers=('b', 'c'), description='d' 'e' + 'f')"),
        (
            "def f(x):\n    if x:\n        raise ValueError('a')",
            "def f(x):\n    if x:\n        raise ValueError(f'{x} b')",
        ),
        ("assert x, 'a'", "assert x"),
        ("def f(x):\n    log.info('a')\n    return x", "def f(x):\n    warnings.warn('b')\n    return x"),
        ("def f(x: int) -> int:\n    y: int = x\n    return y", "def f(x):\n    y = x\n    return y"),
        ("import a\nfrom b import c, d", "from b import d\nfrom b import c\nimport a"),
        ("from typing import Any\n\n\ndef f(x: Any):\n    return x", "def f(x):\n    return x"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nx = 1",
            "from typing import TYPE_CHECKING\nx = 1",
        ),
        ("__all__ = ['a']", "__version__ = '2'"),
    ],
)
def test_what_cannot_change_a_number_is_left_out(package, before, after):
    assert package(method=before) == package(method=after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 2"),
        ("f(rho=7)", "f(rho=8)"),
        ("f('a')", "f('b')"),
        ("f(name='a')", "f(name='b')"),
        ("f(url=g(1))", "f(url=g(2))"),
        ("class A:\n    x: int", "class A:\n    x: float"),
        ("def f(x=1):\n    return x", "def f(x=2):\n    return x"),
        ("from a import l2\nl2(x)", "from b import l2\nl2(x)"),
        ("@register\ndef f(x: int): ...", "@register\ndef f(x: float): ..."),
        ("if TYPE_CHECKING:\n    x = 1\nelse:\n    x = 2", "if TYPE_CHECKING:\n    x = 1\nelse:\n    x = 3"),
        ("assert x > 1, 'a'", "assert x > 2, 'a'"),
        ("raise Stop(1)", "raise Stop(2)"),
        ("from .other import y", ""),
    ],
)
def test_what_can_change_a_number_counts(package, before, after):
    assert package(method=before, other="y = 1") != package(method=after)


@pytest.mark.parametrize(
    "method",
    [
        "from . import other\nother.y",
        "from .other import y\ny",
        "import aplugin.other\naplugin.other.y",
        "def f():\n    from .other import y\n    return y",
        "from aplugin import y\ny",
        "import aplugin\naplugin.y",
        "from aplugin import *",
    ],
)
def test_however_a_module_is_imported_it_is_found(package, method):
    index = "from .other import y as y"
    first = package(method=method, __init__=index, other="y = 1")
    assert package(method=method, __init__=index, other="y = 2") != first


def test_an_index_is_looked_through_to_the_name_that_is_asked_for(package):
    index = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .one import a\n    from .two import b\n"
    lazy = {"__init__": f"{index}\n_MODULES = {{'one': 'a', 'two': 'b'}}\n\n\ndef __getattr__(name): ..."}
    files = {"method": "from . import a\na", "one": "x = 1", "two": "x = 1", **lazy}
    first = package(**files)
    assert package(**{**files, "two": "x = 2"}) == first
    assert package(**{**files, "one": "x = 2"}) != first


def test_a_package_that_computes_counts_for_the_modules_below_it(package):
    files = {"method": "x = 1", "__init__": "from .other import y\nz = y + 1", "other": "y = 1"}
    first = package(**files)
    assert package(**{**files, "other": "y = 2"}) != first


def test_a_module_that_says_so_is_no_part_of_a_result(package):
    marked = "PART_OF_RESULTS = False\nfrom .deeper import z\ny = 1"
    first = package(method="from .other import y\ny", other=marked, deeper="z = 1")
    assert package(method="from .other import y\ny", other=marked + "\nw = 2", deeper="z = 2") == first


def test_another_package_depends_on_what_it_takes_from_fewstep(package, house):
    method = "from fewstep.methods.distillation.sim import l2_loss\nl2_loss"
    first = package(method=method)
    bump(house / "methods" / "distillation" / "sim.py", "l2_loss")
    assert package(method=method) != first


def test_a_target_without_a_module_is_one_line_and_not_a_traceback():
    with pytest.raises(RegisterError, match=r"there is no module fewstep\.methods\.nowhere: .* must be installed"):
        sources.version("fewstep.methods.nowhere")
