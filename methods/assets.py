"""Files and packages that some options need and fewstep does not bring: what is missing, how to get it. No torch."""

import os
from importlib.util import find_spec
from pathlib import Path

from .missing import Missing

LPIPS_FILES = {
    "vgg16-397923af.pth": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "lpips_weights.pt": "https://github.com/photosynthesis-team/photosynthesis.metrics/releases/download/v0.4.0/lpips_weights.pt",
}
"""ImageNet's VGG-16 and LPIPS's weights of its layers, as piq's own LPIPS would download them."""


def weights_folder() -> Path:
    """FEWSTEP_WEIGHTS, by default fewstep/weights in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(os.environ.get("FEWSTEP_WEIGHTS") or cache / "fewstep" / "weights").expanduser()


def hub_file(name: str) -> Path:
    """Where torch.hub, hence torchvision and piq, keep a downloaded file."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    home = Path(os.environ.get("TORCH_HOME", cache / "torch"))
    return home.expanduser() / "hub" / "checkpoints" / name


def missing_lpips() -> Missing | None:
    """The first thing that the LPIPS distance lacks here, None if nothing."""
    if find_spec("piq") is None or find_spec("torchvision") is None:
        return Missing("package piq", "pip install piq torchvision")
    for name, url in LPIPS_FILES.items():
        file = hub_file(name)
        if not file.is_file():
            return Missing(str(file), f"curl -L --create-dirs -o {file} {url}")
    return None
