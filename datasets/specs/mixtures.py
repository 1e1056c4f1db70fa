"""Gaussian mixtures, whose exact denoiser is known."""

from ..registry import PACKAGE, DatasetSpec

SPECS = (
    DatasetSpec(
        "mixture-2d",
        f"{PACKAGE}.mixtures:mixture_2d",
        "eight Gaussians on the unit circle; the exact denoiser is known (embedded)",
        (2,),
        20_000,
        ("law", "truth"),
        classes=8,
    ),
    DatasetSpec(
        "mixture-8x8",
        f"{PACKAGE}.mixtures:mixture_8x8",
        "ten Gaussians of the digits' shape (1, 8, 8); the exact denoiser is known (embedded)",
        (1, 8, 8),
        20_000,
        ("law", "truth"),
        classes=10,
    ),
)
