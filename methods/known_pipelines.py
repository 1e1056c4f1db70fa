"""The text-to-image pipelines that others publish: where each lies, its size and licence, and how to get it. No torch.

The table is known_pipelines.yaml. The folders, files and lists of prompts that it names are looked for in `pipelines`
of the folder of weights; any other name is a path.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import yaml

from .assets import weights_folder
from .missing import Missing

# What a task reads is named by hashes.
PART_OF_RESULTS = False

TABLE = Path(__file__).with_suffix(".yaml")
PLACE = "pipelines"
PACKAGES = {
    "sd": ("diffusers", "transformers"),
    "sdxl": ("diffusers", "transformers"),
    "pixart": ("diffusers", "transformers", "sentencepiece"),
}
"""What reads each kind."""
UNWANTED = ("*.bin", "*.ckpt", "*.onnx*", "*.msgpack", "*fp16*", "*non_ema*")
"""Of a repository's folders: weights in other formats and precisions."""


@dataclass(frozen=True)
class Folder:
    """A pipeline in a repository of Hugging Face's hub.

    network: the repository of its network, if another. parts: gigabytes of each part's weights. teraflops: of a forward
    of the network on one latent, counted. told_guidance: whether the network is told the guidance scale. known: where
    size and licence were read.
    """

    name: str
    repository: str
    kind: Literal["sd", "sdxl", "pixart"]
    pixels: int
    licence: str
    known: str
    parts: dict[str, float] = field(default_factory=dict)
    network: str = ""
    teraflops: float = 0.0
    told_guidance: bool = False

    @property
    def gigabytes(self) -> float:
        return sum(self.parts.values())

    @property
    def contents(self) -> str:
        return ", ".join(f"{part} {size:.3g} GB" for part, size in self.parts.items())

    def command(self, target: Path) -> str:
        """What gets it there: configurations, tokenizers and weights as safetensors."""
        tokenizers = [part.replace("text_encoder", "tokenizer") for part in self.parts if part.startswith("text")]
        wanted = [part for part in self.parts if not (self.network and part in ("unet", "transformer"))]
        include = ["model_index.json", *(f"{part}/*" for part in (*wanted, *tokenizers, "scheduler"))]
        if self.network:
            include.append("unet/*.json")
        patterns = f"--include {' '.join(map(quote, include))} --exclude {' '.join(map(quote, UNWANTED))}"
        found = f"hf download {self.repository} {patterns} --local-dir {quote(str(target))}"
        if not self.network:
            return found
        files = "config.json diffusion_pytorch_model.safetensors"
        return f"{found} && hf download {self.network} {files} --local-dir {quote(str(target / 'unet'))}"


@dataclass(frozen=True)
class WeightsFile:
    """Other weights of the network of a folder, `of`. published: its name in the repository, if another. original:
    whether its tensors have the names of PixArt's authors.
    """

    name: str
    repository: str
    of: str
    licence: str
    gigabytes: float
    known: str
    published: str = ""
    original: bool = False

    @property
    def contents(self) -> str:
        return f"weights for {self.of}"

    def command(self, target: Path) -> str:
        if " " in self.published:
            return f"save {self.published}, of https://huggingface.co/{self.repository} as {target}"
        url = f"https://huggingface.co/{self.repository}/resolve/main/{self.published or self.name}"
        return f"curl -fL --create-dirs -o {quote(str(target))} {url}"


@cache
def _table() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return found


@cache
def folders() -> dict[str, Folder]:
    return {name: Folder(name, **facts) for name, facts in _table()["folders"].items()}


@cache
def files() -> dict[str, WeightsFile]:
    return {name: WeightsFile(name, **facts) for name, facts in _table()["files"].items()}


def prompts() -> dict[str, str]:
    """Lists of prompts to train on, by name: what each holds."""
    return _table()["prompts"]


def known(name: str) -> Folder | WeightsFile | None:
    """What the table says of a name, None for a path."""
    return folders().get(name) or files().get(name)


def located(name: str) -> Path:
    """Where what a suite calls `name` lies, or would lie: a known name's place, any other name's own path."""
    if known(name) is None and name not in prompts():
        return Path(name)
    return weights_folder() / PLACE / name


def missing(name: str) -> Missing | None:
    """What of a folder, a file of weights or a list of prompts is not here; None if it is."""
    path, facts = located(name), known(name)
    if path.exists():
        return None
    if facts is not None:
        return Missing(str(path), facts.command(path))
    if name in prompts():
        return Missing(str(path), f"write {prompts()[name]}, into {path}")
    return None
