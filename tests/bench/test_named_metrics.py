"""A metric is one declaration beside its function, in this package or in another."""

import ast
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

import fewstep
from fewstep.bench.commands.conformance.metric_setup import under_test
from fewstep.bench.commands.main import main
from fewstep.bench.metrics import TooFew
from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.bench.metrics.metric import GROUPS, Metric
from fewstep.bench.metrics.register import METRICS
from fewstep.bench.plan import source_version
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.results import write as outputs
from fewstep.bench.run import runner, worker
from fewstep.bench.stages import extractor
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.datasets import classifiers
from fewstep.reports import leaderboard

ROOT = Path(fewstep.__file__).parent
NAMED = ROOT / "bench" / "metrics" / "named"

MODULE = """
from fewstep.bench.metrics.metric import Metric, Value


def ratio_of_spreads(samples):
    return Value(float(samples.fake.std() / samples.reference.std()), setting="unbiased")


def largest_error(samples):
    return Value(float((samples.fake - samples.reference).abs().max()))


SPREAD = Metric(
    name="spread_ratio",
    display="spread",
    summary="standard deviation of the features over the data's",
    features="classifier",
    array="features",
    compute=ratio_of_spreads,
    against="rows",
    enough=100,
)
ERROR = Metric(
    name="largest_error",
    display="largest error",
    summary="largest distance of a pixel to the exact solution",
    features="pixels",
    compute=largest_error,
    against="truth",
    log_scale=True,
)
"""


def package(folder, source, **points):
    """A package of one file as pip would have installed it in `folder`."""
    (folder / "spreads.py").write_text(source)
    facts = folder / "spreads-0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: spreads\nVersion: 0.1\n")
    lines = [f"{name} = spreads:{attribute}" for name, attribute in points.items()]
    (facts / "entry_points.txt").write_text("\n".join(["[fewstep.metrics]", *lines]))


@pytest.fixture
def spreads(tmp_path, monkeypatch):
    """The folder of a package that adds two metrics, which is on Python's path."""
    assert len(METRICS) > 0  # Without the package, for the tests after this one.
    folder = tmp_path / "site"
    folder.mkdir()
    package(folder, MODULE, spread="SPREAD", error="ERROR")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(METRICS.__dict__, "entries")
    yield folder
    sys.modules.pop("spreads", None)


def write_suite(folder, metrics):
    (folder / "suite.yaml").write_text(
        "{name: s, datasets: digits, teachers: {name: exact, bandwidth: 0.1}, budgets: {evaluations: 1}, nfe: 2,"
        " samples: 20, truth: {samples: 4, tolerance: 1.0e-2}, methods: [{name: euler}], device: cpu,"
        f" metrics: [{metrics}]}}"
    )
    return make_plan(load(str(folder / "suite.yaml")))


def score_task(plan):
    return next(task for task in plan.tasks() if task.kind == "score")


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.features != "lpips"])
def test_the_fewest_samples_of_a_metric_have_a_value_and_fewer_none(name):
    metric, fewest = under_test(METRICS[name]), METRICS[name].fewest
    reference, near, _ = metric.data()
    paired = reference[:fewest] if metric.paired else reference
    assert math.isfinite(metric.value(near[:fewest], paired)[0])
    if fewest > Metric.fewest:
        with pytest.raises(TooFew):
            metric.value(near[: fewest - 1], reference)


def test_one_file_of_another_package_adds_metrics_that_a_suite_scores_by(tmp_path, spreads, monkeypatch):
    monkeypatch.setattr(classifiers, "DIGITS", replace(classifiers.DIGITS, epochs=0.2))
    plan, store = write_suite(tmp_path, "spread_ratio, largest_error"), Store(tmp_path / "store")
    store.prepare()
    for task in plan.tasks():
        assert worker.execute(task.to_json(), store) == ("done", None)
    made = {task.kind: runner.look_up([task], store).artifacts[task.name] for task in plan.tasks()}
    x0, truths = (load_file(made[kind].file(file))["x0"] for kind, file in
                  (("sample", "samples.safetensors"), ("truth", "truth.safetensors")))  # fmt: skip
    classifier, real = extractor.load(made["extractor"])
    metrics = made["score"].result["metrics"]
    expected = float(extractor.features(classifier, x0).std() / real.std())
    assert metrics["spread_ratio"]["value"] == pytest.approx(expected, rel=1e-5)
    assert re.fullmatch(
        r"spread_ratio/digits-classifier@\w{8}/native/float/20/digits-1797@\w{8}/unbiased",
        metrics["spread_ratio"]["protocol"],
    )
    assert metrics["largest_error"]["value"] == pytest.approx(float((x0[:4] - truths).abs().max()), rel=1e-6)
    assert metrics["largest_error"]["protocol"] == "largest_error/pixels/float/4/rk45@0.01"
    (tmp_path / "out").mkdir()
    outputs.write(plan, runner.look_up(plan.tasks(), store), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert facts["largest_error"]["log_scale"]
    assert facts["spread_ratio"]["enough"] == 100
    assert leaderboard.read(tmp_path / "out").metrics == ["spread_ratio", "largest_error"]


def test_a_score_depends_on_the_modules_of_its_own_metrics(tmp_path, spreads):
    truth, classifier = (f"fewstep.bench.metrics.named.{name}" for name in ("truth", "classifier"))
    for metrics, modules in (
        ("rmse, psnr", {truth}),
        ("fd_digits, rmse", {classifier, truth}),
        ("largest_error", {"spreads"}),
    ):
        code = set(score_task(write_suite(tmp_path, metrics)).code)
        assert {name for name in code if "named" in name or name == "spreads"} == modules


def test_a_distance_to_the_truth_does_not_depend_on_the_mathematics_of_other_metrics(tmp_path):
    sources = source_version.digests(*score_task(write_suite(tmp_path, "rmse")).modules)
    assert "fewstep.bench.metrics.paired" in sources
    assert not {f"fewstep.bench.metrics.{name}" for name in ("kernel", "manifold", "classes", "inception")} & set(
        sources
    )


def test_list_shows_the_metrics_of_another_package_without_torch(spreads):
    output = CliRunner().invoke(main, ["list", "metrics"]).output
    assert "spread_ratio" in output
    assert "largest distance of a pixel to the exact solution" in " ".join(output.split())
    code = (
        "import sys; from fewstep.bench.metrics.register import METRICS\n"
        "assert 'spread_ratio' in METRICS and 'torch' not in sys.modules"
    )
    path = os.pathsep.join([str(spreads), str(ROOT.parent)])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


def test_a_metric_whose_name_is_taken_is_refused_in_one_line(spreads):
    (spreads / "spreads.py").write_text(MODULE.replace("spread_ratio", "recall"))
    result = CliRunner().invoke(main, ["list", "metrics"])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "'recall' is taken" in result.stderr
    assert "spreads" in result.stderr


@pytest.mark.parametrize(
    ("declared", "wrong", "message"),
    [
        ('against="truth"', 'against="rows"', "metric largest_error: pixels and lpips are compared with the truth"),
        (
            'features="pixels"',
            'features="pixel"',
            "metric largest_error: no features 'pixel'; one of classifier, scorer, pixels",
        ),
        ('against="rows"', 'against="row"', "metric spread_ratio: against is one of truth, moments, rows"),
        ('array="features"', 'array="pool"', "metric spread_ratio: the arrays of a classifier are features and logits"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused_in_one_line(spreads, declared, wrong, message):
    (spreads / "spreads.py").write_text(MODULE.replace(declared, wrong))
    result = CliRunner().invoke(main, ["list", "metrics"])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_file_among_the_named_metrics_is_enough():
    """Every module of the folder is found, and none is listed anywhere."""
    found = {metric.module.rpartition(".")[2] for metric in METRICS.values()}
    assert found == {path.stem for path in NAMED.glob("*.py")} - {"__init__"}


def test_every_declaration_is_whole():
    for metric in METRICS.values():
        assert metric.display
        assert metric.group in GROUPS
        assert metric.pair is None or METRICS[metric.pair].pair == metric.name


def test_the_axes_of_distances_are_logarithmic():
    assert {metric.name for metric in METRICS.values() if metric.log_scale} == {
        *(
            "fd_digits",
            "fd_cifar10",
            "fd_scenes",
            "fd_law",
            "fd_dinov2",
            "fid",
            "fid_clean",
            "fid_legacy",
            "sfid",
            "rmse",
        )
    }


def asked_by_name(path):
    """Where a source file tells metrics apart by name: comparisons, tables and collections of names or prefixes."""
    # Words that are a kind of features or an extractor as well are told apart elsewhere.
    names = set(METRICS) - {*EXTRACTORS, "lpips"} | {"fd_", "fid_", "kid_", "inception_", "hpsv2_", "clip_score_"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        inside: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            inside = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            inside = [node.value]
        elif isinstance(node, ast.Dict):
            inside = node.keys
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            inside = node.args if node.func.attr in ("startswith", "endswith", "removeprefix", "get") else []
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            known = [isinstance(element, ast.Constant) and element.value in names for element in node.elts]
            inside = node.elts if len(known) > 1 and all(known) else []
        for part in inside:
            if isinstance(part, ast.Constant) and part.value in names:
                yield f"{path.relative_to(ROOT)}:{part.lineno} {part.value}"


def test_nothing_reads_a_metrics_meaning_off_its_name():
    # The door of bench.metrics lists its functions, some of which are called as metrics are.
    door = ROOT / "bench" / "metrics" / "__init__.py"
    paths = [path for room in ("bench", "datasets") for path in sorted((ROOT / room).rglob("*.py"))]
    found = [place for path in paths if NAMED not in path.parents and path != door for place in asked_by_name(path)]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        'if name == "fid": ...',
        'if name in ("rmse", "psnr"): ...',
        'LOGARITHMIC = ("fd_", "rmse")',
        'name.removeprefix("inception_")',
        'NEIGHBOURS = {"precision": 3}',
        'match name:\n    case "kid": ...',
    ],
)
def test_asking_by_name_is_seen(tmp_path, monkeypatch, source):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "module.py").write_text(source)
    assert list(asked_by_name(tmp_path / "module.py"))
