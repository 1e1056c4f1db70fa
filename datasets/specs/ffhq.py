"""FFHQ, the faces of StyleGAN."""

from ..registry import ARCHIVE, SCENES, DatasetSpec, Source


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


SPECS = (_ffhq(64, 1.5, "ffhq-64x64"), _ffhq(256, 14, "ffhq_clean_trainval70k_256"))
