"""`fewstep list`: the names that a suite may use. No torch."""

from ...datasets.registry import DATASETS
from ...methods.assets import LPIPS_FILES
from ...methods.registry import SOLVERS, methods
from ..metrics.extractors import EXTRACTORS
from ..metrics.metric import CLASSIFIER, LPIPS, PIXELS, Metric
from ..metrics.register import METRICS
from ..plan.references import lacking
from ..published_files import REGISTER
from ..suite.schema import SHIPPED, TEACHERS, shipped_names


def catalogue(kind: str) -> list[tuple[str, str]]:
    """(name, what it is) of every method, solver, dataset, teacher, metric or suite."""
    if kind == "methods":
        return [(spec.name, spec.summary) for spec in methods().values()]
    if kind == "solvers":
        return [(spec.name, spec.summary) for spec in SOLVERS.values()]
    if kind == "datasets":
        return [(spec.name, spec.summary) for spec in DATASETS.values()]
    if kind == "teachers":
        return [(options.model_fields["name"].default, (options.__doc__ or "").splitlines()[0]) for options in TEACHERS]
    if kind == "metrics":
        return [(metric.name, _about(metric)) for metric in METRICS.values()]
    return [(name, _description(name)) for name in shipped_names()]


def _description(name: str) -> str:
    import yaml

    content = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(content.get("description", ""))


def _about(metric: Metric) -> str:
    """What a metric says, what it needs, how many samples it asks for, and whether it can run here."""
    needs = {
        CLASSIFIER: "a classifier that the suite trains itself",
        PIXELS: "the teacher's exact solutions, which a run computes",
        LPIPS: f"the teacher's exact solutions, {', '.join(LPIPS_FILES)}",
    }
    extractor = EXTRACTORS.get(metric.features)
    what = needs.get(metric.features) or ", ".join(_file(name) for name in extractor.files)  # type: ignore[union-attr]
    captions = ", a caption per image" if metric.captioned else ""
    samples = f"{metric.enough:,} samples or more" if metric.enough else "any number of samples"
    reason = lacking([metric.name], {}).get(metric.name)
    state = (
        "can run here"
        if reason is None
        else f"cannot run here: {reason.partition(', get it')[0]} (see `fewstep doctor`)"
    )
    return f"{metric.line}\n    needs {what}{captions}; {samples}\n    {state}"


def _file(name: str) -> str:
    return f"{name} (licence: {REGISTER[name].licence})"
