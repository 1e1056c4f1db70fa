"""Which rows are told captions, so that a metric may look at how their samples fit them. No torch."""

from ...datasets.registry import DATASETS
from ...methods.options import Options
from ..metrics.register import METRICS

NO_CAPTIONS = "looks at how samples fit their captions, and this row's network is told none"


def told(teacher: Options, dataset: str) -> bool:
    """Whether the teacher's samples are made of the data set's captions."""
    return bool(DATASETS[dataset].captions) and getattr(teacher, "told_prompts", False)


def undefined(metrics: list[str], captioned: bool) -> dict[str, str]:
    """The metrics that a row without captions cannot have, and why."""
    return {} if captioned else {name: NO_CAPTIONS for name in metrics if METRICS[name].captioned}
