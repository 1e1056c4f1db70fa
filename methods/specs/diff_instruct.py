"""Diff-Instruct."""

from .base import METHODS, MethodSpec
from .score_matching import FakeRate, ScoreMatchingOptions


class DiffInstructOptions(ScoreMatchingOptions):
    """Diff-Instruct (Luo et al. 2023). Paper: sigma_init 1, both rates 1e-5, betas (0, 0.999), batch 128."""

    fake_learning_rate: FakeRate = 3e-3


SPEC = MethodSpec(
    name="diff-instruct",
    target=f"{METHODS}.distillation.diff_instruct:DiffInstruct",
    options=DiffInstructOptions,
    summary="Diff-Instruct: integral KL between noised distributions (Luo et al. 2023)",
    trains=True,
    needs_network=True,
    conditional=True,
    display="Diff-Instruct",
    papers=("luo2023diff",),
)
