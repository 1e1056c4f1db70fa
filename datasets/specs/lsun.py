"""LSUN's scenes."""

from ..registry import ARCHIVE, SCENES, DatasetSpec, Source


def _lsun(scene: str, folder: str, size: int, gigabytes: float, *statistics: str) -> DatasetSpec:
    return DatasetSpec(
        f"lsun-{scene}",
        ARCHIVE,
        f"LSUN's {size:,} images of {scene} at 256x256, as ADM has them",
        (3, 256, 256),
        size,
        SCENES,
        archive=f"lsun-{scene}-256.zip",
        licence="no licence text; for research, Yu et al. 2015",
        source=Source(
            "https://www.yf.io/p/lsun",
            f"take {folder}.zip and unpack it",
            folder,
            gigabytes,
            "lsun-box",
            statistics=statistics,
        ),
    )


SPECS = (
    _lsun("bedroom", "bedroom_train_lmdb", 3_033_042, 600, "VIRTUAL_lsun_bedroom256"),
    _lsun("cat", "cat_lmdb", 1_657_264, 330, "VIRTUAL_lsun_cat256"),
    _lsun("horse", "horse_lmdb", 2_000_340, 400, "VIRTUAL_lsun_horse256"),
    _lsun("church", "church_outdoor_train_lmdb", 126_227, 25),
)
