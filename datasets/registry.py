"""The data sets by name, with what a plan needs to know of them. No torch."""

import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

FACTS = "fewstep.json"
"""The member of an archive that says what is in it."""


class ArchiveError(ValueError):
    """An archive or a source of images is missing or is not what it should be; one line."""


def data_root() -> Path:
    """Where archives lie: FEWSTEP_DATA, or the folder `data`."""
    return Path(os.environ.get("FEWSTEP_DATA", "data"))


@dataclass(frozen=True)
class DatasetSpec:
    """`target` is "module:function", called when the data are needed; `metrics` are those it can be scored by.

    `size` is the number of samples it holds, `classes` the number of labels, 0 without. `archive` is the file below
    the data root that `fewstep prepare` makes, empty for what is embedded. `quality` is the Fréchet distance that
    training and tuning may select by.
    """

    name: str
    target: str
    summary: str
    shape: tuple[int, ...]
    size: int
    metrics: tuple[str, ...]
    classes: int = 0
    archive: str = ""
    licence: str = ""
    quality: str = ""

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]

    def load(self) -> Callable[[], Any]:
        module, _, function = self.target.partition(":")
        loader: Callable[[], Any] = getattr(import_module(module), function)
        return loader

    def path(self) -> Path:
        return data_root() / self.archive

    def missing(self) -> str | None:
        """One line on what is missing of it and how to get it; None if nothing."""
        if not self.archive or self.path().is_file():
            return None
        return f"missing {self.path()}, make it by `fewstep prepare {self.name} --from SOURCE`"

    def identity(self) -> dict[str, str]:
        """What tells these data from others of the same name: the archive's hash; nothing for what is embedded."""
        return {"content": read_facts(self.path())["sha256"]} if self.archive else {}


def read_facts(path: Path) -> dict[str, Any]:
    """What an archive says of itself. ArchiveError where it is none that `fewstep prepare` made."""
    try:
        with zipfile.ZipFile(path) as archive:
            facts: dict[str, Any] = json.loads(archive.read(FACTS))
        if {"sha256", "count", "shape"} <= facts.keys():
            return facts
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, AttributeError):
        pass
    raise ArchiveError(f"{path}: not an archive that `fewstep prepare` made")


OWN = ("precision", "recall", "density", "coverage", "class_coverage")
"""Metrics in the features of a classifier that a suite trains on the data."""
TRUTH = ("rmse", "psnr")
PUBLISHED = (
    *("fid", "fid_clean", "fid_legacy", "sfid", "kid", "kid_subsets", "inception_score"),
    *("inception_precision", "inception_recall", "inception_density", "inception_coverage"),
    *("fd_dinov2", "cmmd", "aesthetic"),
)
"""Metrics in the features of networks that others trained on photographs."""

DATASETS = {
    spec.name: spec
    for spec in [
        DatasetSpec(
            "digits",
            f"{__package__}.digits:digits",
            "scikit-learn's 1797 handwritten digits, 8x8, one channel, 10 classes (embedded)",
            (1, 8, 8),
            1797,
            ("fd_digits", *OWN, *TRUTH),
            classes=10,
            quality="fd_digits",
        ),
        DatasetSpec(
            "cifar10",
            f"{__package__}.cifar10:cifar10",
            "CIFAR-10's 50,000 training images, 32x32, 10 classes (make it by `fewstep prepare cifar10 --from SOURCE`)",
            (3, 32, 32),
            50_000,
            ("fd_cifar10", *OWN, *TRUTH, "lpips", *PUBLISHED),
            classes=10,
            archive="cifar10-32.zip",
            licence="no licence text; Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
            quality="fd_cifar10",
        ),
        DatasetSpec(
            "mixture-2d",
            f"{__package__}.mixtures:mixture_2d",
            "eight Gaussians on the unit circle; the exact denoiser is known (embedded)",
            (2,),
            20_000,
            TRUTH,
            classes=8,
        ),
        DatasetSpec(
            "mixture-8x8",
            f"{__package__}.mixtures:mixture_8x8",
            "ten Gaussians of the digits' shape (1, 8, 8); the exact denoiser is known (embedded)",
            (1, 8, 8),
            20_000,
            TRUTH,
            classes=10,
        ),
    ]
}
