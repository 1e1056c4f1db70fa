"""scikit-learn's handwritten digits."""

from ..registry import PACKAGE, DatasetSpec

SPEC = DatasetSpec(
    "digits",
    f"{PACKAGE}.digits:digits",
    "scikit-learn's 1797 handwritten digits, 8x8, one channel, 10 classes (embedded)",
    (1, 8, 8),
    1797,
    ("classifier", "truth"),
    classes=10,
    classifier=f"{PACKAGE}.classifiers:DIGITS",
    quality="fd_digits",
)
