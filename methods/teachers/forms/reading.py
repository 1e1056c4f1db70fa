"""Any published file as tensors and the configuration that its form needs.

What kind of file it is its first bytes say, which form its tensors' names. Authors leave the configuration out of most
files: it comes from the caller, a .json beside the file, or the register, in this order.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from ... import msgpack, published_networks
from ...unpickling import reason
from .. import edm_pickle
from . import ddpm, flax_pd, openai, score_sde, torch_file, torchcfm
from .base import Checkpoint, CheckpointError, State, tensors_digest, warn_unless_finite

PICKS = {
    "torchcfm": torchcfm.pick,
    "score-sde": score_sde.pick,
    "flax-pd": flax_pd.pick,
    "ddpm": ddpm.pick,
    "openai": openai.pick,
}
"""How each form finds its network's tensors in what a file holds, the most particular first."""
EXAMPLES = {
    "torchcfm": torchcfm.EXAMPLE,
    "score-sde": score_sde.EXAMPLE,
    "flax-pd": flax_pd.EXAMPLE,
    "ddpm": ddpm.EXAMPLE,
    "openai": openai.EXAMPLE,
}
SAME_NAMES = ("openai", "torchcfm")
"""Forms whose tensors have the same names, so that the configuration decides."""

Config = Mapping[str, Any]


def recognise(content: Any) -> tuple[str, State]:
    """(form, its network's tensors) of what a file holds, by its entries' names. CheckpointError for another file."""
    for form, pick in PICKS.items():
        if (state := pick(content)) is not None:
            return form, state
    keys = ", ".join(str(key)[:40] for key in list(content)[:3]) if isinstance(content, Mapping) else ""
    what = f"a dictionary of {keys or 'nothing'}" if isinstance(content, Mapping) else f"a {type(content).__name__}"
    raise CheckpointError(f"{what}, and no network of a known form ({', '.join(PICKS)})")


def read(file: Path, form: str = "auto", config: Config | Path | None = None) -> Checkpoint:
    """The network in a file, or in a folder of diffusers. form: "auto", or the one that it must be of.

    config: the form's settings, or a JSON file of them, in place of those that are known. CheckpointError, which names
    the file, says in one line what is wrong with it; no code in it runs.
    """
    if not file.exists():
        raise CheckpointError(f"{file}: no such file")
    if isinstance(config, Path):
        config = _json(config)
    if config is not None and (file.is_dir() or file.suffix == ".pkl"):
        raise CheckpointError(f"{file}: its settings are in it, and `config` is for files that leave them out")
    if file.is_dir():
        checkpoint = _folder(file)
    elif file.suffix == ".pkl":
        checkpoint = Checkpoint(*edm_pickle.read(file))
    elif file.suffix == ".safetensors":
        checkpoint = _safetensors(file, config)
    else:
        checkpoint = _from_content(file, form, config)
    if form not in ("auto", checkpoint.form):
        raise CheckpointError(f"{file}: its form is {checkpoint.form}, not {form}")
    warn_unless_finite(file, checkpoint.state)
    return checkpoint


def _folder(folder: Path) -> Checkpoint:
    from . import diffusers

    return Checkpoint(*diffusers.read(folder))


def _safetensors(file: Path, config: Config | None) -> Checkpoint:
    beside = file.with_suffix(".json")
    try:
        with safe_open(file, "pt") as opened:
            header = (opened.metadata() or {}).get("config")
        if config is None and header is not None:
            config = json.loads(header)
        elif config is None and beside.is_file():
            config = json.loads(beside.read_text(encoding="utf-8"))
        state = load_file(file)
        if isinstance(config, Mapping) and not {"form", "precond", "kwargs"} & set(config):
            config = {"form": recognise(state)[0], **config}
        if config is not None and not (isinstance(config, Mapping) and _complete(config)):
            raise ValueError("its configuration has no precond or no kwargs, nor another form's `form` and `network`")
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not a network in EDM's form, or another: {reason(error)}") from None
    if config is not None:
        return Checkpoint(dict(config), state)
    try:
        return Checkpoint(_registered(file, *recognise(state)), state)
    except CheckpointError:
        raise CheckpointError(f"{file}: no configuration in its header, nor a file {beside.name} beside it") from None


def _complete(config: Config) -> bool:
    """Whether a form can be told, and what its network is made of."""
    form = config.get("form", "edm")
    part = "kwargs" if form in ("edm", "diffusers") else "network"
    return isinstance(config.get(part), Mapping) and (form != "edm" or "precond" in config)


def _from_content(file: Path, form: str, config: Config | None) -> Checkpoint:
    try:
        found, state = recognise(_content(file))
        if form in SAME_NAMES and found in SAME_NAMES:
            found = form
        return Checkpoint(_settings(file, found, state, config), state)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from None


def _content(file: Path) -> Any:
    """What the file holds: torch's are zips or pickles, flax's are maps of msgpack."""
    with file.open("rb") as stream:
        start = stream.read(1)
    if not start:
        raise CheckpointError("the file is empty")
    if start in (b"P", b"\x80"):
        return torch_file.read(file)
    try:
        return msgpack.read(file)
    except Exception as error:
        # As of a broken pickle: what it asks for is anything.
        raise CheckpointError(f"neither torch.save nor flax wrote it: {reason(error)}") from None


def _settings(file: Path, form: str, state: State, config: Config | None) -> dict[str, Any]:
    beside = file.with_suffix(".json")
    if config is None and beside.is_file():
        config = _json(beside)
    if config is None:
        return _registered(file, form, state)
    settings = {"form": form, **config}
    if settings["form"] != form and not {settings["form"], form} <= set(SAME_NAMES):
        raise CheckpointError(f"its configuration says form {settings['form']!r}, and its tensors are of {form}")
    if not isinstance(settings.get("network"), Mapping):
        raise CheckpointError(f"its configuration has no `network`: it must be like {EXAMPLES[form]}")
    return settings


def _json(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file.name} is no configuration: {reason(error)}") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{file.name} is no configuration, but a {type(config).__name__}")
    return config


def _registered(file: Path, form: str, state: State) -> dict[str, Any]:
    try:
        known = published_networks.with_tensors([tensors_digest(state)], file.stem)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    if known is not None:
        return known.settings
    beside = file.with_suffix(".json").name
    raise CheckpointError(
        f"of form {form}, with shapes of no published network: write its configuration to {beside} beside it, like "
        f"{EXAMPLES[form]}"
    )
