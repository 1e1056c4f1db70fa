"""Which rows are told captions, so that a metric may look at how their samples fit them. No torch."""

from ...datasets.registry import DATASETS
from ..metrics.register import METRICS
from ..suite import networks
from ..suite.schema import Teacher

NO_CAPTIONS = "looks at how samples fit their captions, and this row's network is told none"


def told(teacher: Teacher, dataset: str) -> bool:
    """Whether the teacher's samples are made of the data set's captions."""
    by_label = DATASETS[dataset].prompted and networks.told(teacher)
    return bool(DATASETS[dataset].captions) and (by_label or getattr(teacher, "told_prompts", False))


def undefined(metrics: list[str], captioned: bool) -> dict[str, str]:
    """The metrics that a row without captions cannot have, and why."""
    return {} if captioned else {name: NO_CAPTIONS for name in metrics if METRICS[name].captioned}
