"""The data sets by name, with what a plan needs to know of them. No torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class DatasetSpec:
    """`target` is "module:function", called when the data are needed; `metrics` are those it can be scored by.

    `size` is the number of samples it holds, `classes` the number of labels, 0 without.
    """

    name: str
    target: str
    summary: str
    shape: tuple[int, ...]
    size: int
    metrics: tuple[str, ...]
    classes: int = 0

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]

    def load(self) -> Callable[[], Any]:
        module, _, function = self.target.partition(":")
        loader: Callable[[], Any] = getattr(import_module(module), function)
        return loader


DATASETS = {
    spec.name: spec
    for spec in [
        DatasetSpec(
            "digits",
            f"{__package__}.digits:digits",
            "scikit-learn's 1797 handwritten digits, 8x8, one channel, 10 classes (embedded)",
            (1, 8, 8),
            1797,
            ("fd_digits", "precision", "recall", "class_coverage", "rmse"),
            classes=10,
        ),
        DatasetSpec(
            "mixture-2d",
            f"{__package__}.mixtures:mixture_2d",
            "eight Gaussians on the unit circle; the exact denoiser is known (embedded)",
            (2,),
            20_000,
            ("rmse",),
            classes=8,
        ),
        DatasetSpec(
            "mixture-8x8",
            f"{__package__}.mixtures:mixture_8x8",
            "ten Gaussians of the digits' shape (1, 8, 8); the exact denoiser is known (embedded)",
            (1, 8, 8),
            20_000,
            ("rmse",),
            classes=10,
        ),
    ]
}
