"""Distances of the samples to the teacher's exact ODE solutions from the same noises, in pixels or LPIPS."""

from typing import TYPE_CHECKING

from ..metric import Comparison, Metric, Value

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 64
"""Images at a time through VGG."""


def rmse(samples: Comparison) -> Value:
    from ..paired import rmse_per_image

    return mean(rmse_per_image(samples.fake, samples.reference), samples)


def psnr(samples: Comparison) -> Value:
    from ..paired import psnr_per_image

    return mean(psnr_per_image(samples.fake, samples.reference), samples)


def lpips(samples: Comparison) -> Value:
    import torch

    from ....methods.distillation.perceptual import Perceptual

    distance = Perceptual.load()
    with torch.no_grad():
        parts = zip(samples.fake.float().split(BATCH), samples.reference.float().split(BATCH), strict=True)
        return mean(torch.cat([distance(x, y) for x, y in parts]).double(), samples)


def mean(values: "Tensor", samples: Comparison) -> Value:
    """The mean of one value per sample, (N,); one sample alone has no value without a block."""
    value = float(values.mean())
    if len(values) == 1:
        return Value(value)
    return Value(
        value, [float((values.sum() - values[a:b].sum()) / (len(values) - (b - a))) for a, b in samples.blocks]
    )


METRICS = (
    Metric(
        name="rmse",
        display="RMSE to truth",
        summary="root mean square distance per pixel to the teacher's exact ODE solution, same noise",
        features="pixels",
        compute=rmse,
        against="truth",
        log_scale=True,
        of_samples=True,
    ),
    Metric(
        name="psnr",
        display="PSNR to truth",
        summary="peak signal to noise ratio to the exact solution in dB, mean over images",
        features="pixels",
        compute=psnr,
        against="truth",
        higher_is_better=True,
    ),
    Metric(
        name="lpips",
        display="LPIPS to truth",
        summary="LPIPS (VGG-16) to the exact solution, same noise",
        features="lpips",
        compute=lpips,
        against="truth",
        papers=("zhang2018unreasonable",),
    ),
)
