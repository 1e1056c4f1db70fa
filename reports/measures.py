"""Every metric: what it says, which way is better, how many samples it asks for, what it is taken from."""

from dataclasses import dataclass

CLASSIFIER, PIXELS, LPIPS = "classifier", "pixels", "lpips"


@dataclass(frozen=True)
class Measure:
    """features: "pixels" (the samples beside the truth), "lpips" (the same, in VGG's features), "classifier" (one that
    the suite trains on the data), or the name of an extractor of published weights; `array` is which of its outputs.
    enough: samples below which a value says little. captioned: taken from images with their captions.
    """

    name: str
    summary: str
    features: str
    array: str = ""
    higher_is_better: bool = False
    enough: int = 0
    captioned: bool = False

    @property
    def against(self) -> str:
        """What a metric in published features compares with: "moments" of real images, "rows" of features, nothing."""
        if self.name in FRECHET:
            return "moments"
        return "rows" if self.name.startswith(("kid", "cmmd", *MANIFOLD)) else ""

    @property
    def line(self) -> str:
        return f"{self.summary} ({'higher' if self.higher_is_better else 'lower'} is better)"


def _manifold(prefix: str, features: str, array: str, enough: int) -> list[Measure]:
    """The four scores of one pass, k = 3 for the first two and 5 for the others, as their papers have it."""
    what = {
        "precision": "share of samples inside the manifold of real images, k = 3",
        "recall": "share of real images inside the manifold of samples, k = 3",
        "density": "real balls that a sample lies in, mean over k = 5",
        "coverage": "share of real images whose ball, k = 5, holds a sample",
    }
    where = "same features" if features == CLASSIFIER else "Inception features"
    return [
        Measure(f"{prefix}{name}", f"{text}, {where}", features, array, True, enough) for name, text in what.items()
    ]


MEASURES = {
    measure.name: measure
    for measure in [
        Measure(
            "fd_digits",
            "Fréchet distance in the features of a classifier that the suite trains on digits, not FID",
            CLASSIFIER,
            enough=1000,
        ),
        Measure("fd_cifar10", "the same on CIFAR-10, not FID", CLASSIFIER, enough=5000),
        *_manifold("", CLASSIFIER, "", 1000),
        Measure(
            "class_coverage",
            "1 - total variation between the classes of samples and data, same classifier",
            CLASSIFIER,
            higher_is_better=True,
            enough=500,
        ),
        Measure("rmse", "root mean square distance per pixel to the teacher's exact ODE solution, same noise", PIXELS),
        Measure("psnr", "peak signal to noise ratio to the exact solution in dB, mean over images", PIXELS, "", True),
        Measure("lpips", "LPIPS (VGG-16) to the exact solution, same noise", LPIPS),
        Measure(
            "fid", "Fréchet inception distance, TensorFlow's resize (EDM, ADM)", "inception-tf1", "pool", False, 50_000
        ),
        Measure(
            "fid_clean", "Fréchet inception distance, clean-fid's resize", "inception-clean", "pool", False, 50_000
        ),
        Measure(
            "fid_legacy",
            "Fréchet inception distance, pytorch-fid's resize",
            "inception-legacy-pytorch",
            "pool",
            False,
            50_000,
        ),
        Measure("sfid", "Fréchet distance in Inception's spatial features", "inception-tf1", "spatial", False, 50_000),
        Measure("kid", "kernel inception distance x 1000, over all pairs", "inception-tf1", "pool", False, 1_000),
        Measure(
            "kid_subsets", "the same as papers have it, 100 subsets of 1,000", "inception-tf1", "pool", False, 1_000
        ),
        Measure("inception_score", "Inception score, ten splits", "inception-tf1", "logits", True, 50_000),
        *_manifold("inception_", "inception-tf1", "pool", 10_000),
        Measure("fd_dinov2", "Fréchet distance in DINOv2's features", "dinov2-vitl14", "cls", False, 50_000),
        Measure("cmmd", "maximum mean discrepancy in CLIP's features x 1000", "clip-vitl14-336", "image", False, 5_000),
        Measure("aesthetic", "LAION's aesthetic score, 1 to 10", "aesthetic", "aesthetic", True, 1_000),
        Measure("clip_score", "100 x cosine of image and caption, ViT-B/32", "clip-vitb32", "image", True, 1_000, True),
        Measure(
            "clip_score_g14", "100 x cosine of image and caption, ViT-g/14", "clip-vitg14", "image", True, 1_000, True
        ),
        Measure("hpsv2", "human preference score v2 x 100", "hpsv2", "image", True, 1_000, True),
        Measure("hpsv2_1", "human preference score v2.1 x 100", "hpsv2.1", "image", True, 1_000, True),
        Measure("pickscore", "PickScore, about 20 to 23", "pickscore", "image", True, 1_000, True),
    ]
}
MANIFOLD = ("inception_precision", "inception_recall", "inception_density", "inception_coverage")
FRECHET = tuple(name for name in MEASURES if name.startswith(("fid", "sfid", "fd_")))
"""Distances between moments: published statistics may stand for the reference."""


def measure(name: str) -> Measure:
    """The metric of that name; one that is not known here is taken to be better when lower."""
    return MEASURES.get(name, Measure(name, name, ""))
