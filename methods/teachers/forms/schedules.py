"""The betas of published discrete chains."""

import math

from ...paths import VPDiscrete, linear_betas

SCHEDULES = ("linear", "cosine")


def chain(schedule: str, labels: int) -> VPDiscrete:
    """The path of N = `labels` labels, from label 0 to label N - 1. ValueError for an unknown schedule."""
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}; one of {', '.join(SCHEDULES)}")
    if type(labels) is not int or not 2 <= labels <= 100_000:
        raise ValueError(f"labels must be a whole number from 2 to 100000, not {labels!r}")
    # DDPM's ends are those of 1000 labels; with more each takes its share (Nichol & Dhariwal 2021).
    betas = linear_betas(0.1 / labels, 20 / labels, labels) if schedule == "linear" else cosine_betas(labels)
    return VPDiscrete(betas, t_min=1 / labels)


def cosine_betas(labels: int, offset: float = 0.008, largest: float = 0.999) -> tuple[float, ...]:
    """beta_n = 1 - f((n+1)/N)/f(n/N), at most `largest`; f(u) = cos((u + s)/(1 + s) pi/2)^2.

    Nichol & Dhariwal 2021, eq. 17, s = `offset`.
    """

    def alpha_bar(u: float) -> float:
        return math.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2

    return tuple(min(1 - alpha_bar((n + 1) / labels) / alpha_bar(n / labels), largest) for n in range(labels))
