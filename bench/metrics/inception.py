"""Inception Score (Salimans et al. 2016)."""

from typing import Any

import numpy as np
import torch

from .arrays import TooFew, as_features


def inception_score(logits: Any, splits: int = 10, seed: int | None = 2020) -> tuple[float, float]:
    """(mean, standard deviation) over splits of exp(mean_x KL(p(y|x) || p(y))) for logits (N, classes), in float64.

    Each from 1 to the number of classes. The rows are shuffled by `seed` as torch-fidelity does; None leaves their
    order, as ADM's evaluator does. TensorFlow's weights give 1008 logits, to be taken without the bias.
    Raises ValueError for fewer rows than splits, other shapes, or values that are not finite.
    """
    x = as_features(logits, "logits as").double()
    count = len(x)
    if not 1 <= splits <= count:
        raise TooFew(f"{splits} splits of {count} rows")
    if seed is not None:
        x = x[torch.from_numpy(np.random.RandomState(seed).permutation(count)).to(x.device)]
    log_p = x.log_softmax(1)
    scores = []
    for i in range(splits):
        part = log_p[i * count // splits : (i + 1) * count // splits]
        marginal = part.exp().mean(0).log()
        scores.append((part.exp() * (part - marginal)).sum(1).mean().exp().item())
    return float(np.mean(scores)), float(np.std(scores))
