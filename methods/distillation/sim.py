"""Score Implicit Matching (luo2024one, arXiv:2410.16794), and SiD (zhou2024score, arXiv:2404.04057).

The divergence E w(t) d(s_theta(x_t) - s_q(x_t)) between the scores of the student's and the teacher's noised
distributions has no tractable gradient, but by the score-gradient theorem it is that of
- E w(t) d'(y)^T (s_psi(x_t) - grad log q(x_t | x0)), y = s_psi - s_q, with the score functions frozen and theta
acting through x0 and x_t alone. In SIM's paper: divergence section 3.1, theorem and loss section 3.2, distances
section 3.3, algorithm 1 (equation numbers unchecked). SiD (section 4, equation numbers unchecked) is the squared
distance with a correction alpha, as in the authors' sid_loss.py. The sampler is one evaluation.
"""

import torch
from torch import Tensor

from ..paths import Path
from ..specs.sim import SIMOptions
from .score_matching import Noised, ScoreMatching


def dot(a: Tensor, b: Tensor) -> Tensor:
    """a^T b per sample (B,)."""
    return (a * b).flatten(1).sum(1)


def l2_loss(y: Tensor, residual: Tensor) -> Tensor:
    """-d'(y)^T residual of d = |y|^2, per sample (B,) (SIM, section 3.3)."""
    return -2 * dot(y, residual)


def pseudo_huber_loss(y: Tensor, residual: Tensor, c: float) -> Tensor:
    """-d'(y)^T residual of d = sqrt(|y|^2 + c^2) - c, per sample (B,): |d'| <= 1 for every y (SIM, section 3.3)."""
    return -dot(y, residual) / (dot(y, y) + c**2).sqrt()


def sid_loss(y: Tensor, residual: Tensor, alpha: float) -> Tensor:
    """SiD's (D_q - D_psi)^T ((D_q - x0) - alpha (D_q - D_psi)), per sample (B,); with alpha = 1 half of `l2_loss`."""
    return -dot(y, residual - (1 - alpha) * y)


def differences(path: Path, noised: Noised, of: str) -> tuple[Tensor, Tensor]:
    """(y, residual) = (s_psi - s_q, s_psi - grad log q(x_t | x0)), of the scores or of the denoisers behind them.

    grad log q(x_t | x0) is the score of a denoiser that says x0.
    """
    fake, teacher, x0 = noised.fake, noised.teacher, noised.x0
    if of == "score":
        fake, teacher, x0 = (path.score(noised.x, value, noised.sigma) for value in (fake, teacher, x0))
    return fake - teacher, fake - x0


def score_weight(name: str, noised: Noised) -> Tensor:
    """w, (B,): no gradient passes through it."""
    with torch.no_grad():
        if name == "sid":
            return 1 / (noised.x0 - noised.teacher).abs().flatten(1).mean(1).clamp(min=1e-5)
        return noised.sigma ** {"uniform": 0, "sigma^2": 2, "sigma^4": 4}[name]


class SIM(ScoreMatching):
    """One-step student; 11 evaluations per cycle and sample, 4 of them for the fake score."""

    options: SIMOptions
    through_scores = True

    def student_loss(self, noised: Noised) -> Tensor:
        y, residual = differences(self.path, noised, self.options.of)
        loss = {
            "l2": lambda: l2_loss(y, residual),
            "pseudo-huber": lambda: pseudo_huber_loss(y, residual, self.options.c),
            "sid": lambda: sid_loss(y, residual, self.options.alpha),
        }[self.options.distance]()
        return score_weight(self.options.weight, noised) * loss
