"""COCO's validation images with their captions."""

from ..registry import ARCHIVE, PACKAGE, SCENES, DatasetSpec, Source


def _coco(year: int, size: int, captions: int, which: str, gigabytes: float) -> DatasetSpec:
    return DatasetSpec(
        f"coco{year}",
        ARCHIVE,
        f"COCO {year}'s {size:,} validation images at 256x256 with {which}",
        (3, 256, 256),
        size,
        SCENES,
        archive=f"coco{year}-256.zip",
        licence="captions CC BY 4.0; images under Flickr's terms",
        captions=captions,
        source=Source(
            "https://cocodataset.org/#download",
            f"take val{year}.zip and annotations_trainval{year}.zip into one folder",
            "FOLDER",
            gigabytes,
            "edm-lanczos",
            reader=f"{PACKAGE}.coco:splits",
        ),
    )


SPECS = (
    _coco(2014, 40_504, 30_000, "30,000 captions, drawn once, of as many images", 8),
    _coco(2017, 5_000, 5_000, "the first caption of each", 1),
)
