"""Pictures of two of scikit-learn's digits, with captions."""

from ..registry import PACKAGE, DatasetSpec

SPEC = DatasetSpec(
    "scenes",
    f"{PACKAGE}.scenes:scenes",
    "12,000 pictures of two real digits each, 16x16, one channel, told by 400 captions of 200 meanings (embedded)",
    (1, 16, 16),
    12_000,
    ("scorer", "truth"),
    classes=400,
    captions=400,
    classifier=f"{PACKAGE}.scorers:SCENES",
    quality="fd_scenes",
)
