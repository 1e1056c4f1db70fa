"""CIFAR-10."""

from ..registry import ARCHIVE, PACKAGE, SCENES, DatasetSpec, Source

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""In the order of their labels."""

SPEC = DatasetSpec(
    "cifar10",
    ARCHIVE,
    "CIFAR-10's 50,000 training images, 32x32, 10 classes (make it by `fewstep prepare cifar10 --from SOURCE`)",
    (3, 32, 32),
    50_000,
    ("classifier", *SCENES),
    classes=10,
    classifier=f"{PACKAGE}.classifiers:CIFAR10",
    archive="cifar10-32.zip",
    licence="no licence text; Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    quality="fd_cifar10",
    source=Source(
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "take the python version, or let torchvision take it by `fewstep prepare cifar10 --download`",
        "cifar-10-python.tar.gz",
        0.3,
        labels="the ten classes in their published order",
        class_names=CLASSES,
        splits=("train", "test"),
        held_out="cifar10-32-test.zip",
        held_out_size=10_000,
        balanced=True,
        statistics=("cifar10-32x32", "cifar10_clean_train_32", "cifar10_legacy_tensorflow_train_32"),
        reader=f"{PACKAGE}.cifar10:splits",
    ),
)
