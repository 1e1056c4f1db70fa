"""CelebA, faces of celebrities."""

from ..registry import ARCHIVE, PACKAGE, SCENES, DatasetSpec, Source

SPEC = DatasetSpec(
    "celeba64",
    ARCHIVE,
    "CelebA's 162,770 training faces at 64x64, cropped as DDIM has them",
    (3, 64, 64),
    162_770,
    SCENES,
    archive="celeba-ddim-64.zip",
    licence="research without commerce, as its page says",
    source=Source(
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "take img_align_celeba.zip (aligned and cropped, 178x218)",
        "img_align_celeba.zip",
        3.5,
        "celeba-ddim",
        statistics=("fid_stats_celeba64_train_50000_ddim",),
        reader=f"{PACKAGE}.celeba:splits",
    ),
)
