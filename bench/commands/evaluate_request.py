"""What `fewstep evaluate` is asked: checked before anything heavy is imported. No torch."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.registry import DATASETS
from ...methods.register import UnknownNameError, did_you_mean
from .. import published_files
from ..errors import InputError, printable, shortened
from ..metrics.metric import LAW
from ..metrics.register import METRICS, defined
from ..plan.references import known_statistics, lacking, needs_own, statistics

SUFFIXES = (".npz", ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
LONGEST = 200


@dataclass(frozen=True)
class Request:
    """What is to be measured against what. `row` names the line of the leaderboard: method, variant, nfe and so on.

    dataset: a name, or a folder, zip, tar or npz of the images to compare with. references: metric -> published
    statistics, a known name or a path. rounding: how the samples became 8 bits, as far as their maker says. captions: a
    file with a caption per image, for the metrics that compare with them; without, the data set's own, if it has some.
    """

    images: Path
    dataset: str
    metrics: tuple[str, ...]
    row: Mapping[str, Any]
    references: Mapping[str, str] = field(default_factory=dict)
    rounding: str = "round"
    captions: Path | None = None
    device: str = "auto"

    @property
    def folder(self) -> Path | None:
        """The images to compare with where `dataset` is not a name."""
        return Path(self.dataset) if self.dataset not in DATASETS and Path(self.dataset).exists() else None

    def facts(self) -> dict[str, Any]:
        """What is asked, as run.json holds it: paths as they are now, and the hash of the captions."""
        captions = published_files.sha256(self.captions) if self.captions else None
        dataset = os.path.abspath(self.dataset) if self.folder else self.dataset
        return {
            "images": printable(os.path.abspath(self.images)),
            **self.row,
            "dataset": printable(dataset),
            "metrics": self.wanted(),
            "references": dict(self.references),
            "rounding": self.rounding,
            "captions": captions,
        }

    def defined(self) -> list[str]:
        """The metrics that images alone can have against this data set. InputError for a data set that is unknown."""
        try:
            spec = None if self.folder else DATASETS.pick(self.dataset)
        except UnknownNameError as error:
            raise InputError(f"{error}; nor is it a folder or file of images") from None
        groups = dict.fromkeys([*(spec.groups if spec else ["published"]), *(["captions"] if self.captions else [])])
        known = defined(groups, spec.quality if spec else "")
        found = [name for name in known if METRICS[name].against != "truth" and METRICS[name].features != LAW]
        if not found:
            raise InputError(f"{self.dataset} has no metric that images alone can have")
        return found

    def wanted(self) -> list[str]:
        """The metrics asked for, or all that can be had here. InputError for one that cannot, or without the data."""
        defined = self.defined()
        for name in self.metrics:
            _check_metric(name, defined, self.dataset)
        for metric, file in self.references.items():
            _check_reference(metric, file)
        lacks = lacking(defined, self.references)
        chosen = list(self.metrics) or [name for name in defined if name not in lacks]
        if self._needs_data([name for name in chosen if name not in lacks]):
            missing = DATASETS[self.dataset].missing()
            if missing is not None:
                raise InputError(str(missing))
        return chosen

    def _needs_data(self, metrics: Sequence[str]) -> bool:
        """Whether these metrics read the images or the captions of a named data set."""
        own_captions = self.captions is None and any(METRICS[name].captioned for name in metrics)
        return self.folder is None and (own_captions or needs_own(metrics, self.references))


def source_name(source: Path) -> str:
    """What images are called after where they lie: a folder's name whole, a file's without its suffix."""
    name = Path(os.path.abspath(source)).name
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix) and not source.is_dir()), "")
    return printable(name[: len(name) - len(suffix)] or name or "images")


def named(row: Mapping[str, Any], images: Path) -> dict[str, Any]:
    """The row, whose method is called after the images unless it has a name.

    InputError for a text that does not fit into a table, or a method that is a path rather than a name.
    """
    row = {**row, "method": source_name(images) if row["method"] is None else row["method"]}
    for key in ("variant", "teacher", "budget"):
        if row[key] != printable(row[key]) or len(row[key]) > LONGEST or not (row[key] or key != "teacher"):
            raise InputError(f"--{key} {shortened(row[key])!r}: must be one line of at most {LONGEST} characters")
    name = row["method"]
    if name != printable(name) or len(name) > LONGEST or set(name) & set("/\\:") or not name.strip(". "):
        what = f"a name of 1 to {LONGEST} characters without / \\ or :, not a path"
        raise InputError(f"--method {shortened(name)!r}: {what}; --out names the folder of the results")
    return row


def _check_reference(metric: str, file: str) -> None:
    if metric not in METRICS or not METRICS[metric].takes_statistics:
        raise InputError(f"--reference {metric}={file}: {metric} does not compare with published moments")
    if statistics(file) is None:
        near = did_you_mean(file, known_statistics())
        raise InputError(f"--reference {metric}={file}: no file, and no known statistics of that name{near}")


def _check_metric(name: str, defined: Sequence[str], dataset: str) -> None:
    if name not in METRICS:
        raise InputError(f"unknown metric {name!r}{did_you_mean(name, METRICS)}")
    if METRICS[name].against == "truth":
        raise InputError(f"{name} compares with the teacher's solutions from the same noise, which images do not have")
    if name not in defined:
        needs = "needs --captions" if METRICS[name].group == "captions" else f"is not defined on {dataset}"
        raise InputError(f"{name} {needs}; there are {', '.join(defined)}")
