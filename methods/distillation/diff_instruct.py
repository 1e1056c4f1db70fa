"""Diff-Instruct (luo2023diff, arXiv:2305.18455): the integral KL, whose gradient needs no derivative of a score.

The loss is that of the authors' code; its gradient is the paper's for the integral KL divergence (theorem and
equation numbers unchecked). The fake score is trained in turn, as in score_matching.py; the sampler is one
evaluation.
"""

from torch import Tensor

from .score_matching import Noised, ScoreMatching


def diff_instruct_loss(x0: Tensor, fake: Tensor, teacher: Tensor) -> Tensor:
    """SG[D_psi(x) - D_q(x)]^T x0 per sample (B,).

    Its gradient is that of the integral KL, E w (s_psi - s_q)^T dx/dtheta, with w = sigma^2 on the EDM path.
    """
    return ((fake - teacher).detach() * x0).flatten(1).sum(1)


class DiffInstruct(ScoreMatching):
    """One-step student; 9 evaluations per cycle and sample, 4 of them for the fake score."""

    through_scores = False

    def student_loss(self, noised: Noised) -> Tensor:
        return diff_instruct_loss(noised.x0, noised.fake, noised.teacher)
