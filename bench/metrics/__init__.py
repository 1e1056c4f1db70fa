"""Metrics on feature arrays (N, D), and the extractors that make the features."""

from .classes import class_coverage
from .frechet import frechet_distance, frechet_from_moments, frechet_without
from .kernel import kernel_distance
from .manifold import precision_recall

__all__ = [
    "class_coverage",
    "frechet_distance",
    "frechet_from_moments",
    "frechet_without",
    "kernel_distance",
    "precision_recall",
]
