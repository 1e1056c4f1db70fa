"""The network of a checkpoint, whatever its form."""

import math

from ...networks.openai import OpenAIClassifier
from ..pretrained import Pretrained
from . import ddpm, edm, fewstep, flax_pd, openai, score_sde, torchcfm
from .base import Checkpoint, CheckpointError

BUILDERS = {
    "edm": edm.build,
    "openai": openai.build,
    "ddpm": ddpm.build,
    "score-sde": score_sde.build,
    "torchcfm": torchcfm.build,
    "flax-pd": flax_pd.build,
    "fewstep": fewstep.build,
}

PREDICTIONS = ("eps", "x0", "v")
"""Of networks on a discrete path."""
SETTINGS = {
    "openai": {"schedule", "labels", "label_scale", "prediction", "kind"},
    "ddpm": {"schedule", "labels", "prediction"},
    "score-sde": {"sde", "continuous"},
    "torchcfm": set[str](),
    "flax-pd": {"mean_type"},
    "fewstep": {"shape", "classes", "sigma_data", "sigma_min", "sigma_max"},
}
"""What a form's configuration may hold beside `form` and `network`."""


def build(checkpoint: Checkpoint, dropout: float = 0.0, label_scale: float | None = None) -> Pretrained:
    """The network with its weights in float32, in training mode, and what must be known to ask it.

    dropout: of students that copy it. label_scale: what a discrete network's label is multiplied by, None for what it
    was trained with. CheckpointError, which does not name the file, where weights and configuration do not agree.
    """
    form = checkpoint.form
    try:
        if form == "diffusers":
            from . import diffusers

            return diffusers.build(checkpoint.config, checkpoint.state, dropout)
        if form not in BUILDERS:
            raise CheckpointError(f"unknown form {form!r}; one of {', '.join(BUILDERS)}, diffusers")
        if form != "edm":
            _check(checkpoint)
        if form == "openai":
            return openai.build(checkpoint, dropout, label_scale)
        if label_scale is not None:
            raise CheckpointError(f"label_scale is for networks of the form openai, and this one is of {form}")
        return BUILDERS[form](checkpoint, dropout)
    except CheckpointError:
        raise
    except Exception as error:
        # A configuration may hold anything, and asks for anything of its network.
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise CheckpointError(f"its configuration makes no network of form {form}: {line}") from None


def _check(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    if unknown := sorted(set(config) - SETTINGS[checkpoint.form] - {"form", "network"}):
        raise CheckpointError(f"its configuration has unknown keys: {', '.join(unknown)}")
    if config.get("prediction", "eps") not in PREDICTIONS:
        raise CheckpointError(f"its prediction is {config['prediction']!r}; one of {', '.join(PREDICTIONS)}")
    scale = config.get("label_scale", 1.0)
    if not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise CheckpointError(f"its label_scale is {scale!r}, and must be a number above 0")


def classifier(checkpoint: Checkpoint) -> OpenAIClassifier:
    """The classifier of noisy images in a checkpoint of guided-diffusion. CheckpointError for another file."""
    try:
        return openai.classifier(checkpoint)
    except CheckpointError:
        raise
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise CheckpointError(f"its configuration makes no classifier: {line}") from None
