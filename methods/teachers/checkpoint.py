"""A network that somebody else trained, in any form in which such networks are published: see `forms`."""

from collections.abc import Sequence
from pathlib import Path

from ..classifier_guidance import NoisyClassifier
from ..denoiser import Denoiser, EDMDenoiser
from ..specs.teachers.checkpoint import CheckpointOptions, ClassifierOptions
from . import forms, preconditioned
from .forms import openai, schedules
from .forms.base import Checkpoint as Checkpoint
from .forms.base import CheckpointError as CheckpointError
from .forms.base import Label


def read(file: Path, options: CheckpointOptions | ClassifierOptions | None = None) -> Checkpoint:
    """What is in the file, under the form and the configuration that the options give. CheckpointError: see forms."""
    if options is None:
        return forms.read(file)
    config = Path(options.config) if isinstance(options.config, str) else options.config
    return forms.read(file, getattr(options, "form", "openai"), config)


def denoiser(checkpoint: Checkpoint, options: CheckpointOptions, shape: Sequence[int], classes: int) -> EDMDenoiser:
    """The network as a denoiser of samples of `shape`, on EDM's path between the sigmas that it knows.

    classes: of the data set. CheckpointError, which does not name the file, where the network is not one of this data
    set.
    """
    if checkpoint.config.get("kind") == "consistency":
        raise CheckpointError("a few-step student and no denoiser: it is a row, `{name: student, file: ...}`")
    return network(checkpoint, options, shape, classes)


def network(checkpoint: Checkpoint, options: CheckpointOptions, shape: Sequence[int], classes: int) -> EDMDenoiser:
    """The same of any network, be it a student's, which is no denoiser."""
    pretrained = forms.build(checkpoint, options.dropout, _label_scale(options))
    if pretrained.shape != tuple(shape):
        raise CheckpointError(f"its images have shape {pretrained.shape}, the data set's {tuple(shape)}")
    if pretrained.classes not in (0, classes):
        raise CheckpointError(f"it was trained on {pretrained.classes} classes, and the data set has {classes}")
    return preconditioned.denoiser(pretrained, options.sigma_min, options.sigma_max)


def classifier(checkpoint: Checkpoint, guided: Denoiser, shape: Sequence[int], classes: int) -> NoisyClassifier:
    """The classifier of noisy images of `shape` in `classes` classes, which is to guide `guided`.

    It was trained on the noise that its configuration names, or else on that of the guided network. CheckpointError,
    which does not name the file, where it is none, or does not fit.
    """
    network, config = forms.classifier(checkpoint), checkpoint.config
    own, known = openai.shape(config["network"]), config["network"]["out_channels"]
    if own != tuple(shape):
        raise CheckpointError(f"it classifies images of shape {own}, and the data set's have {tuple(shape)}")
    if known != classes:
        raise CheckpointError(f"it knows {known} classes, and the data set has {classes}")
    if "schedule" in config:
        path = schedules.chain(config["schedule"], config.get("labels", 1000))
        return NoisyClassifier(network, path, Label(path))
    told = getattr(guided.unwrapped(), "network", None)
    if not isinstance(told, preconditioned.EDMForm):
        raise CheckpointError(
            "the network that it guides has no labels of noise: give its `config` a schedule and labels"
        )
    return NoisyClassifier(network, told.path, told.time_of)


def _label_scale(options: CheckpointOptions) -> float | None:
    if isinstance(options.label_scale, str):
        return None if options.label_scale == "trained" else 1.0
    return options.label_scale
