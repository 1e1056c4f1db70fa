"""Published networks made small: few channels and blocks, but their attention, classes and learned variance."""

from typing import Any

from ...published_networks import PublishedNetwork

# What it makes is a file, whose hash is part of a task.
PART_OF_RESULTS = False

CHANNELS = 32
"""Of groups of 32, no network has fewer."""
LEVELS = 4
"""At most: a network of more loses those of its largest images, on which none has attention."""
WIDEST = 2
"""Times CHANNELS, of the last two levels."""


def settings(network: PublishedNetwork, side: int) -> dict[str, Any]:
    """What `writing.write` makes the small network with, for images of `side` pixels."""
    if network.form == "edm":
        return _edm(network, side)
    arguments = network.settings["network"]
    known: dict[str, Any] = {**arguments, "num_res_blocks": 1, "image_size": side}
    lost = 2 ** max(0, len(arguments.get("channel_mult") or arguments["ch_mult"]) - LEVELS)
    smaller = arguments["image_size"] // (side * lost)
    for name, value in arguments.items():
        if name in ("model_channels", "ch", "nf"):
            known[name] = CHANNELS
        elif name in ("channel_mult", "ch_mult"):
            known[name] = _multiples(value[-LEVELS:])
        elif name in ("num_head_channels", "head_dim"):
            known[name] = CHANNELS
        elif name == "attention_resolutions":
            known[name] = [factor // lost for factor in value]
        elif name == "attn_resolutions":
            known[name] = [resolution // smaller for resolution in value]
    return {**network.settings, "network": known}


def _multiples(multiples: list[float]) -> list[int]:
    # A group of one channel at one pixel would have no variance.
    return [1] * (len(multiples) - 2) + [WIDEST] * 2


SONG = {"model_type": "SongUNet", "model_channels": 8, "num_blocks": 1}
NCSN = {
    "embedding_type": "fourier",
    "encoder_type": "residual",
    "channel_mult_noise": 2,
    "resample_filter": [1, 3, 3, 1],
}
ADM = {
    "model_type": "DhariwalUNet",
    "model_channels": CHANNELS,
    "channel_mult": _multiples([1, 2, 3, 4]),
    "num_blocks": 1,
}


def _edm(network: PublishedNetwork, side: int) -> dict[str, Any]:
    """By the name: EDM's files say all of this themselves."""
    kind, own = network.name.rpartition("-")[2], network.name.startswith("edm-")
    kwargs: dict[str, Any] = {"img_resolution": side, "img_channels": network.shape[0], "label_dim": network.classes}
    if kind == "adm":
        kwargs["attn_resolutions"] = [resolution * side // network.shape[1] for resolution in (32, 16, 8)]
        return {"precond": "EDMPrecond" if own else "iDDPMPrecond", "kwargs": {**kwargs, **ADM}}
    # Two levels, of which the second has the attention: more would only take longer.
    kwargs |= {**SONG, "channel_mult": [1, 1], "attn_resolutions": [side // 2], "augment_dim": 9 if own else 0}
    kwargs = {**kwargs, **(NCSN if kind == "ve" else {})}
    return {"precond": "EDMPrecond" if own else {"vp": "VPPrecond", "ve": "VEPrecond"}[kind], "kwargs": dict(kwargs)}
