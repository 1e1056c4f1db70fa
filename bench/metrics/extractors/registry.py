"""Every extractor by name, what it needs and what its numbers are called. No torch until one is loaded."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ....methods.missing import Missing
from ... import published_files

if TYPE_CHECKING:
    import torch

    from .network import FeatureNetwork


@dataclass(frozen=True)
class Extractor(ABC):
    """A feature network behind one way to resize.

    loaded(images uint8 (B, 1 or 3, H, W)) gives {feature: float32 (B, D)}.
    """

    name: str
    network: str
    """As protocols call it."""
    resize: str
    files: tuple[str, ...]
    """Names in the register of weight files."""
    packages: ClassVar[Mapping[str, str]] = {}
    """What Python calls each, and how pip installs it."""

    def missing(self) -> Missing | None:
        """The first package or file that is lacking or broken here, None if nothing."""
        for module, pip in self.packages.items():
            if find_spec(module) is None:
                return Missing(f"package {module}", f"pip install {pip}")
        for file in self.files:
            if (missing := published_files.missing(file)) is not None:
                return missing
        return None

    def protocol(self) -> str:
        """`network@first digits of each file's SHA-256/resize`, and whatever else moves the number.

        FileNotFoundError for a file that is neither here nor published with its hash.
        """
        return "/".join([f"{self.network}@{'+'.join(map(_digits, self.files))}", self.resize, *self.settings()])

    def settings(self) -> tuple[str, ...]:
        """Further parts of the protocol."""
        return ()

    def load(self, device: "torch.device | str" = "cpu") -> "FeatureNetwork":
        """The network, frozen, on the device. FileNotFoundError says what is missing and how to get it."""
        if (missing := self.missing()) is not None:
            raise FileNotFoundError(str(missing))
        # Read when huggingface_hub is first imported: without it an absent file is asked for over the network for
        # most of a minute. Everything is loaded from local files anyway.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        return self.build([_path(file) for file in self.files]).requires_grad_(False).eval().to(device)

    @abstractmethod
    def build(self, files: list[Path]) -> "FeatureNetwork":
        """The network from files that are whole."""


@dataclass(frozen=True)
class InceptionExtractor(Extractor):
    """pool (2048), logits without bias (1008), spatial (2023)."""

    packages = {"torch_fidelity": "torch-fidelity"}

    def build(self, files: list[Path]) -> "FeatureNetwork":
        from .inception import Inception

        return Inception(files[0], self.resize)


@dataclass(frozen=True)
class CleanInceptionExtractor(InceptionExtractor):
    """Resized by clean-fid's own code."""

    packages = {"torch_fidelity": "torch-fidelity", "cleanfid": "clean-fid"}


@dataclass(frozen=True)
class DinoV2Extractor(Extractor):
    """cls (1024): timm's configuration `model`, at `side` pixels."""

    model: str = "vit_large_patch14_dinov2"
    side: int = 224
    packages = {"timm": "timm"}

    def build(self, files: list[Path]) -> "FeatureNetwork":
        from .dinov2 import DinoV2

        return DinoV2(files[0], self.model, self.side, self.resize)


@dataclass(frozen=True)
class ClipExtractor(Extractor):
    """image (D): open_clip's configuration `model` with the weights that open_clip calls `tag`; scores captions."""

    model: str = ""
    tag: str = ""
    prefix: str = ""
    """Before every caption, such as the CLIPScore paper's "A photo depicts "."""
    packages = {"open_clip": "open-clip-torch"}

    def __post_init__(self) -> None:
        """OpenAI trained with QuickGELU: under a plain name open_clip builds another network, and says nothing."""
        if self.tag == "openai" and not self.model.endswith("-quickgelu"):
            raise ValueError(f"OpenAI's weights need {self.model}-quickgelu, not {self.model}")

    def settings(self) -> tuple[str, ...]:
        return (f"model={self.model}", f"tag={self.tag}", f"prefix={self.prefix.strip() or 'none'}", "x100")

    def build(self, files: list[Path]) -> "FeatureNetwork":
        from .clip import Clip

        return Clip(files[0], self.model, self.resize, self.prefix)


@dataclass(frozen=True)
class AestheticExtractor(ClipExtractor):
    """image (768) and aesthetic (1): a head on CLIP's embedding."""

    def settings(self) -> tuple[str, ...]:
        return (f"model={self.model}", f"tag={self.tag}")

    def build(self, files: list[Path]) -> "FeatureNetwork":
        from .clip import Aesthetic

        clip, head = files
        return Aesthetic(clip, head, self.model, self.resize)


@dataclass(frozen=True)
class PickScoreExtractor(Extractor):
    """image (1024): a folder of transformers' CLIPModel; scores captions."""

    packages = {"open_clip": "open-clip-torch", "transformers": "'fewstep[text]'"}

    def build(self, files: list[Path]) -> "FeatureNetwork":
        from .pickscore import PickScore

        return PickScore(files[0].parent, self.resize)


@dataclass(frozen=True)
class ImageRewardExtractor(Extractor):
    """image (1024): BLIP with a head, from the authors' file; scores captions."""

    packages = {"transformers": "'fewstep[text]'"}

    def build(self, files: list[Path]) -> "FeatureNetwork":
        from .imagereward import ImageReward

        return ImageReward(files[0], files[1], files[2], self.resize)


def _path(file: str) -> Path:
    path = published_files.find(file)
    if path is None:
        raise FileNotFoundError(str(published_files.missing(file)))
    return path


def _digits(file: str) -> str:
    return (published_files.REGISTER[file].sha256 or published_files.sha256(_path(file)))[:8]


INCEPTION = "inception-2015-12-05-6726825d.pth"
CLIPS_RESIZE = "pil-bicubic-uint8"


def _clip(name: str, model: str, tag: str, resize: str = CLIPS_RESIZE) -> ClipExtractor:
    file = f"{model.removesuffix('-quickgelu')}-{tag}.safetensors"
    return ClipExtractor(name, "clip", resize, (file,), model=model, tag=tag)


EXTRACTORS: dict[str, Extractor] = {
    extractor.name: extractor
    for extractor in (
        InceptionExtractor("inception-tf1", "inception", "tf1", (INCEPTION,)),
        InceptionExtractor("inception-legacy-pytorch", "inception", "legacy-pytorch", (INCEPTION,)),
        CleanInceptionExtractor("inception-clean", "inception", "clean", (INCEPTION,)),
        DinoV2Extractor("dinov2-vitl14", "dinov2-vitl14", "pil-bicubic-uint8", ("dinov2_vitl14_pretrain.pth",)),
        _clip("clip-vitl14-336", "ViT-L-14-336-quickgelu", "openai", "torch-bicubic"),
        _clip("clip-vitb32", "ViT-B-32-quickgelu", "openai"),
        _clip("clip-vitg14", "ViT-g-14", "laion2b_s12b_b42k"),
        AestheticExtractor(
            "aesthetic",
            "laion-aesthetic-v2",
            CLIPS_RESIZE,
            ("ViT-L-14-openai.safetensors", "sac+logos+ava1-l14-linearMSE.pth"),
            model="ViT-L-14-quickgelu",
            tag="openai",
        ),
        ClipExtractor("hpsv2", "hpsv2", CLIPS_RESIZE, ("HPS_v2_compressed.pt",), model="ViT-H-14", tag="hpsv2"),
        ClipExtractor("hpsv2.1", "hpsv2.1", CLIPS_RESIZE, ("HPS_v2.1_compressed.pt",), model="ViT-H-14", tag="hpsv2.1"),
        PickScoreExtractor(
            "pickscore", "pickscore-v1", CLIPS_RESIZE, ("PickScore_v1/model.safetensors", "PickScore_v1/config.json")
        ),
        ImageRewardExtractor(
            "image-reward",
            "imagereward-v1.0",
            CLIPS_RESIZE,
            ("ImageReward/ImageReward.pt", "ImageReward/med_config.json", "ImageReward/vocab.txt"),
        ),
    )
}
