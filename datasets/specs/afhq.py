"""AFHQ, faces of animals, in both versions."""

from ..registry import ARCHIVE, SCENES, DatasetSpec, Source


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
        licence="CC BY-NC 4.0",
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


SPECS = (_afhq(1, 16_130), _afhq(2, 15_803))
