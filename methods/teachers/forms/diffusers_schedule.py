"""The path of a diffusers folder, from its scheduler's configuration (spelled as in scheduler_config.json)."""

import math
from typing import Any

import torch
from torch import Tensor

from ...paths import VPDiscrete
from ..edm_pickle import CheckpointError
from ..pipelines.folder import CHAINS
from ..pretrained import Prediction

SCHEDULERS = CHAINS
PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
MOST_LABELS = 100_000


def prediction(config: dict[str, Any]) -> Prediction:
    """What the network says; CheckpointError for what diffusers does not train on such a chain."""
    name = config.get("prediction_type", "epsilon")
    if name not in PREDICTIONS:
        raise CheckpointError(f"prediction_type {name!r}: one of {', '.join(PREDICTIONS)}")
    return PREDICTIONS[name]


def path(config: dict[str, Any]) -> VPDiscrete:
    """The chain; label n lies at t = (n + 1)/N. Computed in float64, where diffusers has float32.

    With `rescale_betas_zero_snr` (arXiv:2305.08891, algorithm 1) the last label has no signal at all, and the path ends
    one label earlier. CheckpointError says what is wrong.
    """
    betas = _betas(config)
    if config.get("rescale_betas_zero_snr"):
        root = torch.sqrt(torch.cumprod(1 - betas, 0))
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
        kept = torch.cat([root.new_ones(1), root[:-1]]) ** 2
        betas = 1 - kept[1:] / kept[:-1]
    return VPDiscrete(tuple(betas.tolist()), t_min=1 / len(betas))


def _betas(config: dict[str, Any]) -> Tensor:
    given, schedule = config.get("trained_betas"), config.get("beta_schedule", "linear")
    try:
        if given is not None:
            betas = torch.tensor(given, dtype=torch.float64)
        else:
            count = int(config.get("num_train_timesteps", 1000))
            first, last = (float(config.get(key, default)) for key, default in ENDS.items())
            if not 2 <= count <= MOST_LABELS:
                raise ValueError(f"num_train_timesteps {count}")
            betas = _scheduled(schedule, first, last, count)
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"its scheduler's betas are none: {' '.join(str(error).split())[:200]}") from None
    if betas.ndim != 1 or not 2 <= len(betas) <= MOST_LABELS or not bool(((betas > 0) & (betas < 1)).all()):
        raise CheckpointError("its scheduler's betas are none: they must be numbers between 0 and 1")
    return betas


ENDS = {"beta_start": 1e-4, "beta_end": 0.02}


def _scheduled(name: Any, first: float, last: float, count: int) -> Tensor:
    if name == "linear":
        return torch.linspace(first, last, count, dtype=torch.float64)
    if name == "scaled_linear":
        return torch.linspace(math.sqrt(first), math.sqrt(last), count, dtype=torch.float64) ** 2
    if name == "squaredcos_cap_v2":
        u = torch.arange(count + 1, dtype=torch.float64) / count
        alpha_bar = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
        return (1 - alpha_bar[1:] / alpha_bar[:-1]).clamp(max=0.999)
    raise ValueError(f"beta_schedule {name!r} is not linear, scaled_linear or squaredcos_cap_v2")
