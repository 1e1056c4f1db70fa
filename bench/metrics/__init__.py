"""Metrics on feature arrays (N, D), and the extractors that make the features.

`metrics.moments` collects features or their moments over batches and processes; it alone imports torchmetrics.
"""

from .arrays import TooFew
from .classes import class_coverage
from .frechet import frechet_distance, frechet_from_moments, frechet_to_moments, frechet_without
from .inception_score import inception_score
from .kernel import cmmd, kernel_distance, kernel_distance_subsets
from .manifold import ManifoldScores, manifold_scores, precision_recall
from .paired import linear_cka, psnr, psnr_per_image

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
]
