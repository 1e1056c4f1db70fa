"""ImageNet, in each of the ways in which papers crop and resize it."""

from dataclasses import replace

from ..registry import ARCHIVE, PACKAGE, SCENES, DatasetSpec, Source

LICENCE = "ImageNet's terms of access: research without commerce"


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
        licence=LICENCE,
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
        licence=LICENCE,
        source=Source(
            "https://image-net.org/download.php",
            "register, take the downsampled image data at 64x64, unpack it",
            "FOLDER",
            27,
            "squash-box",
            "the published order (map_clsloc), not that of sorted WNIDs, less one",
            splits=("train", "test"),
            held_out="imagenet-chrabaszcz-64-test.zip",
            held_out_size=50_000,
            reader=f"{PACKAGE}.sources:downsampled",
        ),
    )


ADM = "box and bicubic, as ADM and EDM2 crop"
ADM_64 = _imagenet(
    64,
    "adm-box-bicubic",
    ADM,
    28,
    "VIRTUAL_imagenet64_labeled",
    "imagenet-64x64-baseline",
    "edm2-img64",
)
UNCONDITIONAL = replace(
    ADM_64,
    name="imagenet64-uncond",
    target=f"{PACKAGE}.unlabelled:loader",
    summary="the images of imagenet64-adm without labels, from the same archive",
    classes=0,
    archive_of=ADM_64.name,
)

SPECS = (
    ADM_64,
    UNCONDITIONAL,
    _imagenet(64, "edm-lanczos", "cropped and then Lanczos, as EDM does", 28, "imagenet-64x64"),
    _chrabaszcz(),
    _imagenet(128, "adm-box-bicubic", ADM, 65, "VIRTUAL_imagenet128_labeled"),
    _imagenet(256, "adm-box-bicubic", ADM, 250, "VIRTUAL_imagenet256_labeled"),
    _imagenet(512, "adm-box-bicubic", ADM, 1000, "VIRTUAL_imagenet512"),
)
