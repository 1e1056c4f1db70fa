"""`fewstep list`: the names that a suite may use. No torch."""

from ..datasets.registry import DATASETS
from ..methods.options import ExactOptions, PretrainOptions
from ..methods.registry import SOLVERS, methods
from ..reports.measures import MEASURES
from .suite import SHIPPED, shipped_names


def catalogue(kind: str) -> list[tuple[str, str]]:
    """(name, what it is) of every method, solver, dataset, teacher, metric or suite."""
    if kind == "methods":
        return [(spec.name, spec.summary) for spec in methods().values()]
    if kind == "solvers":
        return [(spec.name, spec.summary) for spec in SOLVERS.values()]
    if kind == "datasets":
        return [(spec.name, spec.summary) for spec in DATASETS.values()]
    if kind == "teachers":
        return [
            (options.model_fields["name"].default, (options.__doc__ or "").splitlines()[0])
            for options in (PretrainOptions, ExactOptions)
        ]
    if kind == "metrics":
        return [(measure.name, measure.line) for measure in MEASURES.values()]
    return [(name, _description(name)) for name in shipped_names()]


def _description(name: str) -> str:
    import yaml

    content = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text(encoding="utf-8"))
    return str(content.get("description", ""))
