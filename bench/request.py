"""What `fewstep evaluate` is asked: checked before anything heavy is imported. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..datasets.registry import DATASETS
from ..methods.registry import UnknownNameError, did_you_mean, pick
from ..reports.measures import CLASSIFIER, FRECHET, LPIPS, MEASURES, PIXELS
from .errors import InputError
from .references import known_statistics, lacking, statistics


@dataclass(frozen=True)
class Request:
    """What is to be measured against what. `row` names the line of the leaderboard: method, variant, nfe and so on.

    references: metric -> published statistics, a known name or a path. rounding: how the samples became 8 bits, as far
    as their maker says. captions: a caption per image, for the metrics that compare with them.
    """

    images: Path
    dataset: str
    metrics: tuple[str, ...]
    row: Mapping[str, Any]
    references: Mapping[str, str] = field(default_factory=dict)
    rounding: str = "round"
    captions: Path | None = None
    device: str = "auto"

    def wanted(self) -> list[str]:
        """The metrics asked for, or all that images alone can have here. InputError for one that they cannot."""
        try:
            spec = pick(DATASETS, self.dataset, "dataset")
        except UnknownNameError as error:
            raise InputError(str(error)) from None
        if (missing := spec.missing()) is not None:
            raise InputError(missing)
        captioned = tuple(name for name, measure in MEASURES.items() if measure.captioned) if self.captions else ()
        defined = [name for name in (*spec.metrics, *captioned) if MEASURES[name].features not in (PIXELS, LPIPS)]
        if not defined:
            raise InputError(f"{self.dataset} has no metric that images alone can have")
        for name in self.metrics:
            _check_metric(name, defined, self.dataset)
        for metric, file in self.references.items():
            if metric not in FRECHET or MEASURES[metric].features == CLASSIFIER:
                raise InputError(f"--reference {metric}={file}: {metric} does not compare with published moments")
            if statistics(file) is None:
                near = did_you_mean(file, known_statistics())
                raise InputError(f"--reference {metric}={file}: no file, and no known statistics of that name{near}")
        if self.metrics:
            return list(self.metrics)
        lacks = lacking(defined, self.references)
        return [name for name in defined if name not in lacks]


def _check_metric(name: str, defined: Sequence[str], dataset: str) -> None:
    if name not in MEASURES:
        raise InputError(f"unknown metric {name!r}{did_you_mean(name, MEASURES)}")
    if MEASURES[name].features in (PIXELS, LPIPS):
        raise InputError(f"{name} compares with the teacher's solutions from the same noise, which images do not have")
    if name not in defined:
        needs = "needs --captions" if MEASURES[name].captioned else f"is not defined on {dataset}"
        raise InputError(f"{name} {needs}; there are {', '.join(defined)}")
