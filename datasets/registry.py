"""The data sets by name, with what a plan needs to know of them. No torch."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ..methods.missing import Missing
from .facts import ArchiveError as ArchiveError
from .facts import read_facts

# A task names the module that reads its data.
PART_OF_RESULTS = False


def data_root() -> Path:
    """Where archives lie: FEWSTEP_DATA, or the folder `data`."""
    return Path(os.environ.get("FEWSTEP_DATA", "data"))


@dataclass(frozen=True)
class DatasetSpec:
    """`target` is "module:function", called when the data are needed; `metrics` are the groups that it can be
    scored by: "truth", "classifier" (one that a suite trains on it), "perceptual" (LPIPS), "published" (in the features
    of networks that others trained on photographs).

    `size` is the number of samples it holds, `classes` the number of labels, 0 without. `archive` is the file below
    the data root that `fewstep prepare` makes, empty for what is embedded. `quality` is the Fréchet distance that
    training and tuning may select by. `captions` is the length of the frozen list.
    """

    name: str
    target: str
    summary: str
    shape: tuple[int, ...]
    size: int
    metrics: tuple[str, ...]
    classes: int = 0
    archive: str = ""
    licence: str = ""
    quality: str = ""
    captions: int = 0
    source: "Source | None" = None

    @property
    def module(self) -> str:
        return self.target.partition(":")[0]

    def load(self) -> Callable[[], Any]:
        loader: Callable[..., Any] = _found(self.target)
        return partial(loader, self.name, self.path(), self.shape, self.classes) if self.archive else loader

    def path(self) -> Path:
        return data_root() / self.archive

    def missing(self) -> Missing | None:
        """The archive, if it is not here."""
        if not self.archive or self.path().is_file():
            return None
        return Missing(str(self.path()), f"fewstep prepare {self.name} --from SOURCE")

    def how_to_get(self) -> str:
        """Where its images are published, how they become the archive, its size and licence."""
        if self.source is None:
            return "embedded"
        make = f"`fewstep prepare {self.name} --from {self.source.form}`"
        about = f"about {self.source.gigabytes:g} GB; licence: {self.licence}{self.known_statistics()}"
        return f"{self.source.page}: {self.source.steps}; {make}; {about}"

    def known_statistics(self) -> str:
        """The published statistics that a suite's `references` may name for it, as the end of a line."""
        names = self.source.statistics if self.source else ()
        return f"; published statistics: {', '.join(names)}" if names else ""

    def identity(self) -> dict[str, str]:
        """What tells these data from others of the same name: the archive's hash; nothing for what is embedded."""
        return {"content": read_facts(self.path())["sha256"]} if self.archive else {}


@dataclass(frozen=True)
class Source:
    """Where the images come from, and what is done to them.

    page, steps, form: where and how to get them, and what `--from` then names. gigabytes: of the archive and what is
    laid down beside it. preprocessing: a convention of `preprocess`. labels: what the label is, for the provenance.
    class_names: the folders of the classes, in order; without, folders named by WNID are. splits: the folders that
    are read where the source is divided into train, test and val. held_out: the archive of the "test" split.
    statistics: the published ones that were made of these images in this way.
    original: the side of the published images, where those of any other size are not it. reader: "module:function"
    for a form that no other data set has.
    """

    page: str
    steps: str
    form: str
    gigabytes: float
    preprocessing: str = "none"
    labels: str = "none"
    class_names: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    held_out: str = ""
    original: int = 0
    statistics: tuple[str, ...] = ()
    reader: str = f"{__package__}.sources:splits"

    def read(self) -> Callable[..., Any]:
        reader: Callable[..., Any] = _found(self.reader)
        return reader


def _found(target: str) -> Any:
    module, _, function = target.partition(":")
    return getattr(import_module(module), function)


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

SCENES = ("truth", "perceptual", "published")
"""What photographs can be scored by where no classifier is trained."""
ARCHIVE = f"{__package__}.archive:loader"

IMAGENET = "ImageNet's terms of access: research without commerce"
LSUN = "no licence text; for research, Yu et al. 2015"
AFHQ = "CC BY-NC 4.0"
COCO = "captions CC BY 4.0; images under Flickr's terms"


def _imagenet(side: int, convention: str, summary: str, gigabytes: float, *statistics: str) -> DatasetSpec:
    family = convention.partition("-")[0]
    return DatasetSpec(
        f"imagenet{side}-{family}",
        ARCHIVE,
        f"ImageNet's 1,281,167 training images at {side}x{side}, 1000 classes, {summary}",
        (3, side, side),
        1_281_167,
        SCENES,
        classes=1000,
        archive=f"imagenet-{family}-{side}.zip",
        licence=IMAGENET,
        source=Source(
            "https://image-net.org/download.php",
            "register, take ILSVRC2012's training images, the tar or its classes in folders named by WNID",
            "ILSVRC2012_img_train.tar",
            gigabytes,
            convention,
            "WNIDs in sorted order, or the source's dataset.json",
            splits=("train",),
            statistics=statistics,
        ),
    )


def _chrabaszcz() -> DatasetSpec:
    return DatasetSpec(
        "imagenet64-chrabaszcz",
        ARCHIVE,
        "the downsampled ImageNet of Chrabaszcz et al. 2017: 1,281,167 whole images squashed to 64x64, 1000 classes",
        (3, 64, 64),
        1_281_167,
        SCENES,
        classes=1000,
        archive="imagenet-chrabaszcz-64.zip",
        licence=IMAGENET,
        source=Source(
            "https://image-net.org/download.php",
            "register, take the downsampled image data at 64x64, unpack it",
            "FOLDER",
            27,
            "squash-box",
            "the published order (map_clsloc), not that of sorted WNIDs, less one",
            splits=("train", "test"),
            held_out="imagenet-chrabaszcz-64-test.zip",
            reader=f"{__package__}.sources:downsampled",
        ),
    )


def _ffhq(side: int, gigabytes: float, *statistics: str) -> DatasetSpec:
    return DatasetSpec(
        f"ffhq{side}",
        ARCHIVE,
        f"FFHQ's 70,000 faces at {side}x{side} from 1024x1024 by Lanczos, as EDM has them",
        (3, side, side),
        70_000,
        SCENES,
        archive=f"ffhq-{side}.zip",
        licence="collection CC BY-NC-SA 4.0, each photograph under a licence of its own",
        source=Source(
            "https://github.com/NVlabs/ffhq-dataset",
            "take images1024x1024",
            "images1024x1024",
            gigabytes,
            "lanczos",
            original=1024,
            statistics=statistics,
        ),
    )


def _lsun(scene: str, folder: str, size: int, gigabytes: float, *statistics: str) -> DatasetSpec:
    return DatasetSpec(
        f"lsun-{scene}",
        ARCHIVE,
        f"LSUN's {size:,} images of {scene} at 256x256, as ADM has them",
        (3, 256, 256),
        size,
        SCENES,
        archive=f"lsun-{scene}-256.zip",
        licence=LSUN,
        source=Source(
            "https://www.yf.io/p/lsun",
            f"take {folder}.zip and unpack it",
            folder,
            gigabytes,
            "lsun-box",
            statistics=statistics,
        ),
    )


def _afhq(version: int, size: int) -> DatasetSpec:
    return DatasetSpec(
        f"afhqv{version}-64",
        ARCHIVE,
        f"AFHQ v{version}'s {size:,} faces of animals at 64x64 from 512x512 by Lanczos, training and test images",
        (3, 64, 64),
        size,
        SCENES,
        classes=3,
        archive=f"afhqv{version}-64.zip",
        licence=AFHQ,
        source=Source(
            "https://github.com/clovaai/stargan-v2",
            f"take afhq{'_v2' if version == 2 else ''}.zip",
            "FILE",
            0.4,
            "lanczos",
            "cat, dog, wild",
            ("cat", "dog", "wild"),
            original=512,
            statistics=("afhqv2-64x64",) if version == 2 else (),
        ),
    )


def _coco(year: int, size: int, captions: int, which: str, gigabytes: float) -> DatasetSpec:
    return DatasetSpec(
        f"coco{year}",
        ARCHIVE,
        f"COCO {year}'s {size:,} validation images at 256x256 with {which}",
        (3, 256, 256),
        size,
        SCENES,
        archive=f"coco{year}-256.zip",
        licence=COCO,
        captions=captions,
        source=Source(
            "https://cocodataset.org/#download",
            f"take val{year}.zip and annotations_trainval{year}.zip into one folder",
            "FOLDER",
            gigabytes,
            "edm-lanczos",
            reader=f"{__package__}.coco:splits",
        ),
    )


DATASETS = {
    spec.name: spec
    for spec in [
        DatasetSpec(
            "digits",
            f"{__package__}.digits:digits",
            "scikit-learn's 1797 handwritten digits, 8x8, one channel, 10 classes (embedded)",
            (1, 8, 8),
            1797,
            ("classifier", "truth"),
            classes=10,
            quality="fd_digits",
        ),
        DatasetSpec(
            "cifar10",
            ARCHIVE,
            "CIFAR-10's 50,000 training images, 32x32, 10 classes (make it by `fewstep prepare cifar10 --from SOURCE`)",
            (3, 32, 32),
            50_000,
            ("classifier", *SCENES),
            classes=10,
            archive="cifar10-32.zip",
            licence="no licence text; Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
            quality="fd_cifar10",
            source=Source(
                "https://www.cs.toronto.edu/~kriz/cifar.html",
                "take the python version, or let torchvision take it by `fewstep prepare cifar10 --download`",
                "cifar-10-python.tar.gz",
                0.3,
                labels="the ten classes in their published order",
                class_names=CIFAR10_CLASSES,
                splits=("train", "test"),
                held_out="cifar10-32-test.zip",
                statistics=("cifar10-32x32", "cifar10_clean_train_32", "cifar10_legacy_tensorflow_train_32"),
                reader=f"{__package__}.cifar10:splits",
            ),
        ),
        _imagenet(
            64,
            "adm-box-bicubic",
            "box and bicubic, as ADM and EDM2 crop",
            28,
            "VIRTUAL_imagenet64_labeled",
            "imagenet-64x64-baseline",
            "edm2-img64",
        ),
        _imagenet(64, "edm-lanczos", "cropped and then Lanczos, as EDM does", 28, "imagenet-64x64"),
        _chrabaszcz(),
        _imagenet(128, "adm-box-bicubic", "box and bicubic, as ADM and EDM2 crop", 65, "VIRTUAL_imagenet128_labeled"),
        _ffhq(64, 1.5, "ffhq-64x64"),
        _ffhq(256, 14, "ffhq_clean_trainval70k_256"),
        _lsun("bedroom", "bedroom_train_lmdb", 3_033_042, 600, "VIRTUAL_lsun_bedroom256"),
        _lsun("cat", "cat_lmdb", 1_657_264, 330, "VIRTUAL_lsun_cat256"),
        _lsun("church", "church_outdoor_train_lmdb", 126_227, 25),
        _afhq(1, 16_130),
        _afhq(2, 15_803),
        _coco(2014, 40_504, 30_000, "30,000 captions, drawn once, of as many images", 8),
        _coco(2017, 5_000, 5_000, "the first caption of each", 1),
        DatasetSpec(
            "mixture-2d",
            f"{__package__}.mixtures:mixture_2d",
            "eight Gaussians on the unit circle; the exact denoiser is known (embedded)",
            (2,),
            20_000,
            ("truth",),
            classes=8,
        ),
        DatasetSpec(
            "mixture-8x8",
            f"{__package__}.mixtures:mixture_8x8",
            "ten Gaussians of the digits' shape (1, 8, 8); the exact denoiser is known (embedded)",
            (1, 8, 8),
            20_000,
            ("truth",),
            classes=10,
        ),
    ]
}
