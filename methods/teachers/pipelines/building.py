"""The network of a text-to-image folder as one with all that a denoiser of it needs to know."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...prompts import PromptTable
from ..edm_pickle import CheckpointError
from ..forms import diffusers_schedule as schedule
from ..pretrained import Pretrained
from .facts import Facts
from .library import accepted, module, renamed
from .networks import PixArt, TextUNet

FORM = "diffusers-text"


def configuration(facts: Facts, prediction: str | None = None) -> dict[str, Any]:
    """What `build` needs beside the weights; it can be written as JSON.

    prediction: in place of the scheduler's, for a network file that predicts something else than its folder's.
    """
    scheduler = dict(facts.scheduler)
    if prediction is not None:
        scheduler["prediction_type"] = prediction
    return {
        "form": FORM,
        "kind": facts.kind,
        "kwargs": {key: value for key, value in facts.network.items() if not key.startswith("_")},
        "legacy": facts.network["_class_name"] == "Transformer2DModel",
        "scheduler": scheduler,
        "shape": list(facts.latent_shape),
        "size": list(facts.image_shape[1:]),
    }


def build(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    table: PromptTable | None = None,
    guidance: float | None = None,
) -> Pretrained:
    """The network with these weights, in their dtype and in training mode, told captions by the table's rows.

    guidance: the scale that a network with `time_cond_proj_dim` is told. CheckpointError where weights and
    configuration do not fit, or the table is of other text encoders than the network's.
    """
    if table is not None:
        _check_table(config, table)
    chain, kwargs = config["scheduler"], dict(config["kwargs"])
    path, prediction = schedule.path(chain), schedule.prediction(chain)
    if chain.get("rescale_betas_zero_snr"):
        warnings.warn("rescale_betas_zero_snr: the last label has no signal; the path ends one before", stacklevel=2)
    size = (int(config["size"][0]), int(config["size"][1]))
    network: TextUNet | PixArt
    if config["kind"] == "pixart":
        name = "PixArtTransformer2DModel"
        given = accepted(name, kwargs) if config.get("legacy") else kwargs
        network = PixArt(module(name, given, state).train(), kwargs, size, table)
    else:
        unet = module("UNet2DConditionModel", kwargs, renamed(state)).train()
        network = TextUNet(unet, kwargs, size, table, guidance)
    channels, height, width = config["shape"]
    return Pretrained(network, path, prediction, path.label, (channels, height, width), null=True)


def _check_table(config: Mapping[str, Any], table: PromptTable) -> None:
    kwargs, found = config["kwargs"], table.at(torch.tensor([table.null]))
    key = "caption_channels" if config["kind"] == "pixart" else "cross_attention_dim"
    width = kwargs.get(key)
    _agree("tokens", found.tokens, width if isinstance(width, list | tuple) else (width,))
    if config["kind"] == "sdxl":
        sizes = 6 * int(kwargs.get("addition_time_embed_dim") or 0)
        _agree("pooled prompts", found.pooled, (int(kwargs["projection_class_embeddings_input_dim"]) - sizes,))
    if config["kind"] == "pixart" and found.mask is None:
        raise CheckpointError("the table has no mask of its prompts, which PixArt's network is told: encode them again")


def _agree(what: str, found: Tensor | None, widths: Sequence[Any]) -> None:
    """Networks that leave a width to the library have None."""
    width = None if found is None else found.shape[-1]
    if not {width, None} & set(widths) or width is None:
        has = f"no {what}" if width is None else f"{what} of {width} numbers"
        raise CheckpointError(f"the table has {has}, and the network reads {widths[0]}: encode prompts with its folder")
