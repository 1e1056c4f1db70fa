"""The networks behind FID, FD-DINOv2, CMMD and the scores of images with captions. No torch until one is loaded."""

from .registry import EXTRACTORS, Extractor

__all__ = ["EXTRACTORS", "Extractor"]
