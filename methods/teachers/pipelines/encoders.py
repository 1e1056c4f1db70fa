"""Prompts through a folder's text encoders, once, in batches: what methods/prompts.py writes down as a table.

Stable Diffusion takes the last hidden states of CLIP, SDXL the last but one of two CLIPs side by side and the second's
pooled output, PixArt those of T5 with the mask of the tokens that count. The null prompt comes last.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...prompts import Encoded
from ..edm_pickle import CheckpointError
from .facts import CLASSES, MOST_LAYERS, TOKENIZER_FILES, Encoding, Facts
from .folder import ENCODER, configuration, line, weights
from .library import DTYPES, imported, state

LARGEST_TOKENIZER = 2**26
"""Bytes of one of its files."""
CONFIGURATIONS = {
    "CLIPTextModel": "CLIPTextConfig",
    "CLIPTextModelWithProjection": "CLIPTextConfig",
    "T5EncoderModel": "T5Config",
}
SETTINGS = {"auto_map", "quantization_config", "adapter_config"}
"""Of a configuration, what would make another module of it, or run code."""


def encode(
    facts: Facts, prompts: Sequence[str], encoding: Encoding, device: torch.device | str = "cpu"
) -> Iterator[Encoded]:
    """len(prompts) + 1 encoded prompts, the null prompt last, in parts of at most `encoding.batch`, on the CPU.

    The encoders are loaded at once, and freed at the end. CheckpointError where the folder's are none, or a package is
    not installed.
    """
    if encoding.clean and facts.kind != "pixart":
        raise CheckpointError(f"clean is PixArt's clean_caption, which a pipeline of {facts.kind} does not have")
    clean = _cleaner(encoding.clean) if facts.kind == "pixart" else str
    encoders = [TextEncoder(facts, part, encoding, device) for part in facts.encoder_parts]

    def parts() -> Iterator[Encoded]:
        rest = iter(prompts)
        while batch := list(islice(rest, encoding.batch)):
            yield _stored(_joined(facts, encoders, [clean(prompt) for prompt in batch]), encoding)
        null = _stored(_joined(facts, encoders, [clean("")]), encoding)
        yield _zeros(null) if facts.null_is_zeros else null
        encoders.clear()

    return parts()


class TextEncoder:
    """A text encoder with its tokenizer, in `encoding.dtype`; prompts are padded and cut to `length` tokens."""

    def __init__(self, facts: Facts, part: str, encoding: Encoding, device: torch.device | str) -> None:
        self.device = device
        tokenizer = part.replace("text_encoder", "tokenizer")
        with quiet():
            self.model = _model(facts, part, DTYPES[encoding.dtype]).to(device).eval().requires_grad_(False)
            self.tokenizer = _tokenizer(facts.folder / tokenizer, str(facts.index[tokenizer][1]))
        longest = getattr(self.model.config, "max_position_embeddings", None) or 2**20
        self.length = encoding.length or min(facts.tokens, longest)
        if self.length > longest:
            raise CheckpointError(f"{part} reads {longest} tokens, not {self.length}")

    @torch.no_grad()
    def __call__(self, prompts: list[str], hidden: bool = False) -> tuple[Any, Tensor]:
        """(the encoder's output, mask (B, L) bool of the tokens that count)."""
        found = self.tokenizer(
            prompts, padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        ).to(self.device)
        config, mask = self.model.config, found.attention_mask
        told = mask if getattr(config, "use_attention_mask", False) or config.model_type == "t5" else None
        output = self.model(found.input_ids, attention_mask=told, output_hidden_states=hidden)
        return output, mask.bool()


def _joined(facts: Facts, encoders: Sequence[TextEncoder], prompts: list[str]) -> Encoded:
    if facts.kind == "sdxl":
        first, second = (encoder(prompts, hidden=True)[0] for encoder in encoders)
        return Encoded(torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1), None, second.text_embeds)
    output, mask = encoders[0](prompts)
    return Encoded(output.last_hidden_state, mask if facts.kind == "pixart" else None)


def _stored(part: Encoded, encoding: Encoding) -> Encoded:
    dtype = DTYPES[encoding.stored]
    tokens, pooled = (None if found is None else found.to("cpu", dtype) for found in (part.tokens, part.pooled))
    return Encoded(tokens, None if part.mask is None else part.mask.cpu(), pooled)


def _zeros(part: Encoded) -> Encoded:
    tokens, pooled = (None if found is None else torch.zeros_like(found) for found in (part.tokens, part.pooled))
    return Encoded(tokens, part.mask, pooled)


def _cleaner(thorough: bool) -> Callable[[str], str]:
    """What PixArt's pipelines make of a prompt before it is tokenised."""
    if not thorough:
        return lambda prompt: prompt.lower().strip()
    for package in ("ftfy", "bs4"):
        imported(package)
    imported("transformers")
    cls = imported("diffusers").PixArtAlphaPipeline
    pipeline = cls.__new__(cls)
    return lambda prompt: str(pipeline._text_preprocessing(prompt, clean_caption=True)[0])


def _model(facts: Facts, part: str, dtype: torch.dtype) -> Any:
    folder, name = facts.folder / part, str(facts.index[part][1])
    config = configuration(folder / "config.json")
    _check(folder / "config.json", config)
    tensors = state(weights(folder, ENCODER), dtype)
    library = imported("transformers")
    made, configured = getattr(library, name), getattr(library, CONFIGURATIONS[name])
    try:
        own = {key: value for key, value in config.items() if key not in ("dtype", "torch_dtype")}
        found, info = made.from_pretrained(
            None, config=configured.from_dict(own), state_dict=tensors, output_loading_info=True
        )
    except Exception as error:
        # A configuration may hold anything, and asks for anything of the library.
        raise CheckpointError(f"{folder}: not a {name} of transformers: {line(error)}") from None
    if missing := sorted(info["missing_keys"] or []):
        raise CheckpointError(f"{folder}: {len(missing)} tensors of a {name} are missing, such as {missing[0]}")
    return found.to(dtype)


def _check(file: Path, config: dict[str, Any]) -> None:
    if unread := sorted(SETTINGS & set(config)):
        raise CheckpointError(f"{file}: {unread[0]} is not read")
    for key in ("num_hidden_layers", "num_layers", "num_decoder_layers"):
        layers = config.get(key)
        if layers is not None and not (isinstance(layers, int) and 0 < layers <= MOST_LAYERS):
            raise CheckpointError(f"{file}: {layers!r} layers")


def _tokenizer(folder: Path, name: str) -> Any:
    assert name in (*CLASSES["tokenizer"], *CLASSES["tokenizer_2"])
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        _check(settings, configuration(settings))
    for file in (folder / name for name in TOKENIZER_FILES):
        if file.is_file() and file.stat().st_size > LARGEST_TOKENIZER:
            raise CheckpointError(f"{file}: {file.stat().st_size:,} bytes are no tokenizer's")
    library = imported("transformers")
    if name.startswith("T5") and not (folder / "tokenizer.json").is_file():
        imported("sentencepiece")
    try:
        return getattr(library, name).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except Exception as error:
        raise CheckpointError(f"{folder}: not a {name} of transformers: {line(error)}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """transformers reports every load with a bar and a table."""
    logging = imported("transformers").utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(50)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
