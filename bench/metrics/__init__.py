"""Metrics on feature arrays (N, D), the extractors that make the features, and what suites call the metrics.

`named` declares every metric, `register` finds these and the metrics of other packages, `scoring` computes them.
The functions are imported when they are first used, since suites are checked without torch. `metrics.moments` collects
features or their moments over batches and processes; it alone imports torchmetrics.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arrays import TooFew
    from .classes import class_coverage
    from .frechet import frechet_distance, frechet_from_moments, frechet_to_moments, frechet_without
    from .inception import inception_score
    from .kernel import cmmd, kernel_distance, kernel_distance_subsets
    from .manifold import ManifoldScores, manifold_scores, precision_recall
    from .paired import linear_cka, psnr, psnr_per_image, rmse, rmse_per_image

_MODULES = {
    "arrays": ("TooFew",),
    "classes": ("class_coverage",),
    "frechet": ("frechet_distance", "frechet_from_moments", "frechet_to_moments", "frechet_without"),
    "inception": ("inception_score",),
    "kernel": ("cmmd", "kernel_distance", "kernel_distance_subsets"),
    "manifold": ("ManifoldScores", "manifold_scores", "precision_recall"),
    "paired": ("linear_cka", "psnr", "psnr_per_image", "rmse", "rmse_per_image"),
}

__all__ = [
    "ManifoldScores",
    "TooFew",
    "class_coverage",
    "cmmd",
    "frechet_distance",
    "frechet_from_moments",
    "frechet_to_moments",
    "frechet_without",
    "inception_score",
    "kernel_distance",
    "kernel_distance_subsets",
    "linear_cka",
    "manifold_scores",
    "precision_recall",
    "psnr",
    "psnr_per_image",
    "rmse",
    "rmse_per_image",
]


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
