"""`fewstep list`: the names that a suite may use. No torch."""

from ...datasets.frozen.register import teachers as shipped_teachers
from ...datasets.registry import DATASETS
from ...methods.assets import LPIPS_FILES
from ...methods.options import Options
from ...methods.options.shipped import ShippedOptions
from ...methods.registry import SOLVERS, methods
from ...reports.measures import CLASSIFIER, LPIPS, MEASURES, PIXELS, Measure
from ..metrics.extractors import EXTRACTORS
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
        return [(options.model_fields["name"].default, _teacher(options)) for options in TEACHERS]
    if kind == "metrics":
        return [(measure.name, _about(measure)) for measure in MEASURES.values()]
    return [(name, _description(name)) for name in shipped_names()]


def _teacher(options: type[Options]) -> str:
    """What a teacher is and, of the shipped ones, which there are."""
    summary = (options.__doc__ or "").splitlines()[0]
    return f"{summary}\n    file: {', '.join(shipped_teachers())}" if options is ShippedOptions else summary


def _description(name: str) -> str:
    import yaml

    content = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(content.get("description", ""))


def _about(measure: Measure) -> str:
    """What a metric says, what it needs, how many samples it asks for, and whether it can run here."""
    needs = {
        CLASSIFIER: "a classifier, which fewstep ships for digits and a suite trains for other data",
        PIXELS: "the teacher's exact solutions, which a run computes",
        LPIPS: f"the teacher's exact solutions, {', '.join(LPIPS_FILES)}",
    }
    extractor = EXTRACTORS.get(measure.features)
    what = needs.get(measure.features) or ", ".join(_file(name) for name in extractor.files)  # type: ignore[union-attr]
    captions = ", a caption per image" if measure.captioned else ""
    samples = f"{measure.enough:,} samples or more" if measure.enough else "any number of samples"
    reason = lacking([measure.name], {}).get(measure.name)
    state = (
        "can run here"
        if reason is None
        else f"cannot run here: {reason.partition(', get it')[0]} (see `fewstep doctor`)"
    )
    return f"{measure.line}\n    needs {what}{captions}; {samples}\n    {state}"


def _file(name: str) -> str:
    return f"{name} (licence: {REGISTER[name].licence})"
