"""Every metric by name: those of the modules in `named`, then those of installed packages. No torch.

Another package adds a metric through the entry point group `fewstep.metrics`: each entry point names a Metric, in a
module that does not import torch either.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules

from ...methods.register import Register
from .metric import Metric, in_order


def _built_in() -> Iterator[Metric]:
    """The METRICS of every module in `named`, by the modules' names."""
    named = import_module(".named", __package__)
    for name in sorted(info.name for info in iter_modules(named.__path__)):
        yield from import_module(f"{named.__name__}.{name}").METRICS


METRICS: Register[Metric] = Register("metric", "fewstep.metrics", lambda: in_order(_built_in()), of=Metric)


def defined(groups: Iterable[str], quality: str = "") -> list[str]:
    """The names of the metrics of these groups; of those that are specific to a data set, its `quality` alone."""
    return [
        metric.name
        for group in groups
        for metric in METRICS.values()
        if metric.group == group and (not metric.specific or metric.name == quality)
    ]
