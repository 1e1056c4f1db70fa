"""The files that others publish: weights and statistics for metrics, networks for teachers. Where each is looked for,
how to get it, whether it is whole.

Nothing is ever downloaded unasked. A file is looked for in FEWSTEP_WEIGHTS, then, under the name that torch.hub gives
it, in torch.hub's folder. No torch.
"""

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shlex import quote

from ..methods import published_networks
from ..methods.assets import hub_file
from ..methods.assets import weights_folder as folder
from ..methods.missing import Missing

# A task's parameters hold the hash of each file that it reads.
PART_OF_RESULTS = False

UNKNOWN = "unknown, see URL"


@dataclass(frozen=True)
class WeightFile:
    """One file that somebody else publishes. A name with a folder ("stats/x.npz") lies in that folder.

    sha256 holds the digest or its first digits, "" where nobody publishes it: torch.hub's names carry eight digits.
    megabytes is what it takes about: four bytes for each parameter, eight for each moment. saved_as: its name in the
    folder that url is, where that is a web page.
    """

    name: str
    url: str
    needed_by: tuple[str, ...]
    megabytes: float
    licence: str = UNKNOWN
    sha256: str = ""
    hub_names: tuple[str, ...] = ()
    saved_as: str = ""

    def command(self, target: Path) -> str:
        """What gets it there; folders in the cloud are opened in a browser."""
        if self.saved_as:
            return f"save {self.saved_as} of {self.url} as {target}"
        url = quote(self.url) if "?" in self.url else self.url
        return f"curl -fL --create-dirs -o {quote(str(target))} {url}"


def _hugging_face(repository: str, file: str = "open_clip_model.safetensors") -> str:
    return f"https://huggingface.co/{repository}/resolve/main/{file}"


STATISTICS_FOLDER, CHECKPOINTS = "stats/", "checkpoints/"
"""Where published reference statistics and teachers' networks lie."""
MIT, APACHE, EDM = "MIT", "Apache 2.0", "CC BY-NC-SA 4.0"
OPENAI = "MIT, as OpenAI's repository of CLIP"

EXTRACTOR_WEIGHTS = (
    WeightFile(
        "inception-2015-12-05-6726825d.pth",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        ("fid", "sfid", "kid", "inception score", "precision and recall"),
        96,
        "Apache 2.0, as torch-fidelity says of the TensorFlow original",
        sha256="6726825d",
        # torch-fidelity and pytorch-fid publish the same bytes under two names.
        hub_names=("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
    ),
    WeightFile(
        "dinov2_vitl14_pretrain.pth",
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        ("fd-dinov2",),
        1217,
        APACHE,
        hub_names=("dinov2_vitl14_pretrain.pth",),
    ),
    WeightFile(
        "ViT-L-14-336-openai.safetensors",
        _hugging_face("timm/vit_large_patch14_clip_336.openai"),
        ("cmmd",),
        1712,
        OPENAI,
    ),
    WeightFile(
        "ViT-L-14-openai.safetensors",
        _hugging_face("timm/vit_large_patch14_clip_224.openai"),
        ("aesthetic score",),
        1710,
        OPENAI,
    ),
    WeightFile(
        "ViT-B-32-openai.safetensors",
        _hugging_face("timm/vit_base_patch32_clip_224.openai"),
        ("clip score",),
        605,
        OPENAI,
    ),
    WeightFile(
        "ViT-g-14-laion2b_s12b_b42k.safetensors",
        _hugging_face("laion/CLIP-ViT-g-14-laion2B-s12B-b42K"),
        ("clip score",),
        5467,
        MIT,
    ),
    WeightFile(
        "sac+logos+ava1-l14-linearMSE.pth",
        "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
        "sac%2Blogos%2Bava1-l14-linearMSE.pth",
        ("aesthetic score",),
        3.7,
        APACHE,
    ),
    # Compressed: in half precision.
    WeightFile("HPS_v2_compressed.pt", _hugging_face("xswu/HPSv2", "HPS_v2_compressed.pt"), ("hpsv2",), 1972, APACHE),
    WeightFile(
        "HPS_v2.1_compressed.pt", _hugging_face("xswu/HPSv2", "HPS_v2.1_compressed.pt"), ("hpsv2.1",), 1972, APACHE
    ),
    WeightFile(
        "PickScore_v1/model.safetensors",
        _hugging_face("yuvalkirstain/PickScore_v1", "model.safetensors"),
        ("pickscore",),
        3944,
    ),
    WeightFile(
        "PickScore_v1/config.json", _hugging_face("yuvalkirstain/PickScore_v1", "config.json"), ("pickscore",), 0.01
    ),
    WeightFile(
        "ImageReward/ImageReward.pt",
        _hugging_face("THUDM/ImageReward", "ImageReward.pt"),
        ("imagereward",),
        1790,
        APACHE,
    ),
    WeightFile(
        "ImageReward/med_config.json",
        _hugging_face("THUDM/ImageReward", "med_config.json"),
        ("imagereward",),
        0.0005,
        APACHE,
    ),
    WeightFile(
        "ImageReward/vocab.txt",
        _hugging_face("google-bert/bert-base-uncased", "vocab.txt"),
        ("imagereward",),
        0.23,
        APACHE,
    ),
)

MOMENTS = 33.6
"""Megabytes of a mean and a covariance of 2048 features."""


def clean_fid_statistics(dataset: str, mode: str, split: str, resolution: int) -> WeightFile:
    """clean-fid's reference statistics under clean-fid's own name; mode "clean" or "legacy_pytorch" or the like."""
    name = f"{dataset}_{mode}_{split}_{resolution}.npz".lower()
    url = f"https://www.cs.cmu.edu/~clean-fid/stats/{name}"
    return WeightFile(f"stats/{name}", url, (f"fid on {dataset.lower()}",), MOMENTS, MIT)


def _edm_statistics(name: str, dataset: str, licence: str = EDM) -> WeightFile:
    url = f"https://nvlabs-fi-cdn.nvidia.com/edm/fid-refs/{name}.npz"
    return WeightFile(f"stats/{name}.npz", url, (f"fid on {dataset}",), MOMENTS, licence)


def _adm_statistics(folder: str, name: str, side: int) -> WeightFile:
    """Moments of the whole training set, sFID's too, and 10,000 of its images, for precision and recall."""
    url = f"https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches/{folder}/{name}.npz"
    metrics = tuple(f"{metric} on {folder}" for metric in ("fid", "sfid", "precision and recall"))
    return WeightFile(f"stats/{name}.npz", url, metrics, round(2 * MOMENTS + 0.03 * side**2), MIT)


STATISTICS = (
    *(clean_fid_statistics("cifar10", mode, "train", 32) for mode in ("clean", "legacy_tensorflow", "legacy_pytorch")),
    *(clean_fid_statistics("ffhq", "clean", "trainval70k", resolution) for resolution in (256, 1024)),
    _edm_statistics("cifar10-32x32", "cifar10"),
    _edm_statistics("ffhq-64x64", "ffhq at 64"),
    _edm_statistics("afhqv2-64x64", "afhqv2 at 64"),
    _edm_statistics("imagenet-64x64", "imagenet at 64, as EDM's models were trained"),
    _edm_statistics("imagenet-64x64-baseline", "imagenet at 64, as ADM's model was trained", MIT),
    WeightFile(
        f"{STATISTICS_FOLDER}edm2-img64.pkl",
        "https://nvlabs-fi-cdn.nvidia.com/edm2/dataset-refs/img64.pkl",
        ("fid on imagenet at 64, as EDM2's models were trained",),
        42,
        EDM,
    ),
    _adm_statistics("imagenet/64", "VIRTUAL_imagenet64_labeled", 64),
    _adm_statistics("imagenet/128", "VIRTUAL_imagenet128_labeled", 128),
    _adm_statistics("imagenet/256", "VIRTUAL_imagenet256_labeled", 256),
    _adm_statistics("imagenet/512", "VIRTUAL_imagenet512", 512),
    _adm_statistics("lsun/bedroom", "VIRTUAL_lsun_bedroom256", 256),
    _adm_statistics("lsun/cat", "VIRTUAL_lsun_cat256", 256),
    _adm_statistics("lsun/horse", "VIRTUAL_lsun_horse256", 256),
    WeightFile(
        f"{STATISTICS_FOLDER}fid_stats_celeba64_train_50000_ddim.npz",
        "https://drive.google.com/drive/folders/1yo-XhqbPue3rp5P57j6QbA5QZx6KybvP",
        ("fid on celeba at 64, as DPM-Solver and D-ODE measure it",),
        MOMENTS,
        saved_as="fid_stats/fid_stats_celeba64_train_50000_ddim.npz",
    ),
)


NETWORKS = tuple(
    WeightFile(
        f"{CHECKPOINTS}{network.file}",
        network.url,
        (f"a {network.kind.replace('consistency', 'student')} on {network.data}",),
        network.megabytes,
        network.licence,
        network.sha256,
        saved_as=network.published,
    )
    for network in published_networks.NETWORKS.values()
)

REGISTER: dict[str, WeightFile] = {file.name: file for file in (*EXTRACTOR_WEIGHTS, *STATISTICS, *NETWORKS)}
"""Every file that is known by name."""


def meant(name: str, place: str) -> str | None:
    """What `name` means: a registered file of that folder, with or without its suffix, or a path. None: neither.

    A checkpoint's path may be a folder's.
    """
    for known in REGISTER:
        if known.startswith(place) and name in (known, known.removeprefix(place), Path(known).stem):
            return known
    path = Path(name)
    return str(path.absolute()) if os.path.isfile(path) or (place == CHECKPOINTS and os.path.isdir(path)) else None


def known_names(place: str) -> list[str]:
    """The registered files of that folder, as suites name them."""
    return [str(Path(name).relative_to(place).with_suffix("")) for name in REGISTER if name.startswith(place)]


def located(file: str) -> Path | None:
    """Where a file that `meant` has found lies."""
    return find(file) if file in REGISTER else Path(file)


def located_checkpoint(name: str) -> Path | None:
    """Where the network that a suite calls `name` lies, None if it is not here or there is no such."""
    file = meant(name, CHECKPOINTS)
    return located(file) if file else None


def find(file: str | WeightFile) -> Path | None:
    """Where the file lies, None if nowhere; its content is not looked at. KeyError for a name that is not known."""
    known = _known(file)
    for path in (folder() / known.name, *map(hub_file, known.hub_names)):
        if path.is_file():
            return path
    return None


def missing(file: str | WeightFile) -> Missing | None:
    """What is wrong with the file here and the command that gets it, None if it is whole."""
    known = _known(file)
    target, path = folder() / known.name, find(known)
    command = known.command(target)
    if path is None:
        return Missing(str(target), command)
    if known.sha256 and not sha256(path).startswith(known.sha256):
        return Missing(f"{path} (another hash than {known.sha256}: truncated?)", command, "wrong hash")
    if not known.sha256 and _cut_short(path):
        return Missing(f"{path} (cut short, or not what its name says)", command, "cut short")
    return None


def sha256(path: Path) -> str:
    """The file's digest in hexadecimal, read once for as long as its size and time of change stay."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _known(file: str | WeightFile) -> WeightFile:
    return REGISTER[file] if isinstance(file, str) else file


def _cut_short(path: Path) -> bool:
    """What a file without a published hash says of itself: safetensors begin with an index, zips (.npz, .pt) end in
    one, and what torch wrote before it wrote zips begins as a pickle."""
    if path.suffix == ".safetensors":
        return _safetensors_size(path) != path.stat().st_size
    if path.stat().st_size == 0:
        return True
    with path.open("rb") as stream:
        start = stream.read(4)
        stream.seek(-1, os.SEEK_END)
        end = stream.read(1)
    if path.suffix == ".pkl":
        return start[:1] != b"\x80" or end != b"."
    if path.suffix in (".pt", ".pth") and start[:1] == b"\x80":
        return False
    return path.suffix in (".pt", ".pth", ".npz") and not zipfile.is_zipfile(path)


def _safetensors_size(path: Path) -> int | None:
    """What the header promises; None where there is no such header, as in an error page saved under the name."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > path.stat().st_size:
            return None
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    return 8 + length + max(ends, default=0)
