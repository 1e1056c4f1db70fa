"""What a network of one's own is asked before anything is trained on it, each answer one line."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor

from ..denoiser import Denoiser
from ..paths import EDM, expand
from ..randomness import noise
from .forms.base import CheckpointError
from .preconditioned import Told

LEVEL = 3.0
"""Where a prediction that is read as another shows: at small levels every reading looks right."""
SAMPLES = 16


@torch.no_grad()
def check(denoiser: Denoiser, data: Any, labels: bool) -> None:
    """CheckpointError for a denoiser that cannot be one; a warning where it does not denoise the data.

    data: a Dataset; without images of it here the warning is left out.
    """
    denoiser = denoiser.eval()
    x = noise(0, "probe", range(2), tuple(data.shape))
    condition = torch.tensor([0, data.classes - 1]) if labels else None
    for t in _times(denoiser):
        state = _at(denoiser, x, t)
        found = denoiser(state, t, condition)
        if found.shape != x.shape:
            raise CheckpointError(f"D has shape {tuple(found.shape)}, its samples {tuple(x.shape)}")
        if not bool(found.isfinite().all()):
            raise CheckpointError(f"D is not finite at t = {t:g}")
        alone = [denoiser(state[i : i + 1], t, None if condition is None else condition[i : i + 1]) for i in (0, 1)]
        if not _near(found, torch.cat(alone)):
            raise CheckpointError("a sample's D depends on the others of its batch: use no batch statistics")
        _check_labels(denoiser, state, t, labels, data.classes)
    _check_copies(denoiser, x, condition)
    _warn_unless_it_denoises(denoiser, data, labels)


def _times(denoiser: Denoiser) -> tuple[float, float, float]:
    first, last = denoiser.path.t_min, denoiser.path.t_max
    middle = (first * last) ** 0.5 if isinstance(denoiser.path, EDM) else (first + last) / 2
    return first, middle, last


def _at(denoiser: Denoiser, x: Tensor, t: float) -> Tensor:
    at = torch.tensor(t, dtype=torch.float64)
    return expand(torch.sqrt(denoiser.path.alpha(at) ** 2 + denoiser.path.sigma(at) ** 2), x) * x


def _near(a: Tensor, b: Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=1e-3, atol=1e-4 * max(float(b.abs().max()), 1e-6)))


def _check_labels(denoiser: Denoiser, x: Tensor, t: float, labels: bool, classes: int) -> None:
    if classes < 2 or t in (denoiser.path.t_min, denoiser.path.t_max):
        return
    try:
        first, second = (denoiser(x, t, torch.full((2,), label)) for label in (0, 1))
    except (TypeError, ValueError, RuntimeError) as error:
        if not labels:
            return
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(f"it is said to take labels, and fails when it is given them: {line}") from None
    if labels and torch.equal(first, second):
        raise CheckpointError("it is said to take labels, and D is the same for two of them")
    if not labels and not torch.equal(first, second):
        raise CheckpointError("D depends on labels, and it is said to take none: set `labels: true` and `classes`")


def _check_copies(denoiser: Denoiser, x: Tensor, condition: Tensor | None) -> None:
    t = _times(denoiser)[1]
    state = _at(denoiser, x, t)
    expected = denoiser(state, t, condition)
    try:
        copied = copy.deepcopy(denoiser)
        copied.load_state_dict(denoiser.state_dict())
    except Exception as error:
        # A network may refuse to be copied in any way.
        raise CheckpointError(f"it cannot be copied: {' '.join(str(error).split())[:200]}") from None
    if not torch.equal(copied(state, t, condition), expected):
        raise CheckpointError("a copy of it with the same state dict is another denoiser: keep all of it in the state")


def _warn_unless_it_denoises(denoiser: Denoiser, data: Any, labels: bool) -> None:
    count = min(SAMPLES, len(data))
    rows = torch.arange(count) * (len(data) // count)
    x0 = data.samples(rows)
    if not bool(x0.isfinite().all()):
        return
    t = denoiser.path.time_at(torch.tensor(LEVEL, dtype=torch.float64))
    eps = noise(0, "level-3", range(count), tuple(data.shape))
    D = denoiser(denoiser.path.noisy(x0, eps, t), t, data.labels(rows) if labels else None)
    rms, std = float((D - x0).square().mean().sqrt()), float(x0.std())
    if rms >= std:
        form = getattr(denoiser, "network", None)
        says, path = (form.prediction, form.path) if isinstance(form, Told) else ("D", denoiser.path)
        off = f"at noise level {LEVEL:g} the teacher is {rms:.3g} off the data, whose standard deviation is {std:.3g}"
        warnings.warn(f"{off}: does it predict {says} on the path {type(path).__name__}?", stacklevel=2)
