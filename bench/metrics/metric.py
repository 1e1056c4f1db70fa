"""What a metric is: what it says, which way is better, what it is taken from, and how it is computed. No torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from ...reports import jackknife
from .extractors.registry import EXTRACTORS

CLASSIFIER, SCORER, PIXELS, LPIPS, LAW = "classifier", "scorer", "pixels", "lpips", "law"
FEATURES, LOGITS, COSINES, RIGHT = "features", "logits", "cosines", "right"
OWN = {CLASSIFIER: (FEATURES, LOGITS), SCORER: (FEATURES, COSINES, RIGHT)}
"""The networks that are trained on the data set itself, each with its arrays."""
Against = Literal["truth", "moments", "rows", "nothing", "captions"]
GROUPS = ("classifier", "scorer", "law", "truth", "perceptual", "published", "captions")
"""What a data set may say that its samples have; the order in which metrics are listed."""


@dataclass(frozen=True)
class Comparison:
    """The samples of one cell beside what they are compared with.

    fake: features (N, D) of the samples, by the metric's `array`; the samples (N, ...) in [-1, 1] for "pixels" and
    "lpips"; for "captions" one value (N,) for each image with its caption; moments, see `Metric.of_moments`.
    reference: by the metric's `against`, the exact solutions (N, ...) from the same noises ("truth"), mean (D,) and
    covariance (D, D) of all real images or of their law ("moments"), features (M, D) of some real images ("rows"), or
    None.
    """

    fake: Any
    reference: Any = None
    shared: dict[Any, Any] = field(default_factory=dict)
    """What metrics of the same features have computed together."""

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """(first, past the last) sample of each of the jackknife's blocks."""
        return jackknife.bounds(len(self.fake))

    def once(self, function: Callable[..., Any], *settings: Any) -> Any:
        """function(reference, fake, *settings), computed for the first metric that asks and kept for the others."""
        key = function, settings
        if key not in self.shared:
            self.shared[key] = function(self.reference, self.fake, *settings)
        return self.shared[key]


@dataclass(frozen=True)
class Value:
    """A metric's value; `without` holds its values without each of the blocks, where these are cheap to have.

    setting: what else the protocol says, such as "k=3".
    """

    value: float
    without: list[float] | None = None
    setting: str = ""


@dataclass(frozen=True)
class Metric:
    """One metric, declared beside its function.

    name, display: as suites and as tables call it. summary: one line.
    features: "classifier" or "scorer" (of images with captions; both are trained on the data set), "pixels" (the
    samples themselves), "lpips" (the same, which needs the files of LPIPS), "law" (the samples as vectors, of data
    whose law is known), or the name of an extractor of published weights.
    array: which output of the extractor; of a classifier "features" or "logits", of a scorer "features", "cosines" of
    images with their captions, or "right", whether the nearest caption says the same as theirs.
    against: what `Comparison.reference` holds. "pixels" and "lpips" are compared with the "truth", and only they.
    compute: imports torch only when it is called, since suites are checked without. It must be defined in the module
    of the declaration: that module, with what it imports, is the source version of the metric's values.
    It raises `arrays.TooFew` where the metric is not defined for so few samples.
    enough: samples below which a value says little. fewest: samples that it needs, where these are more than three.
    log_scale: figures show it on a logarithmic axis.
    of_moments: it needs no more of the samples' features than their moments: `Comparison.fake` is a
    `moments.BlockMoments` where that takes less memory.
    pair: the metric without which this one means little. of_samples: compared with the truth as the denoiser makes
    samples, in latents where it has a codec; others of these features are compared as pictures. specific: it is defined
    only on the data sets that name it as their `quality`. papers: keys of the bibliography.
    """

    name: str
    display: str
    summary: str
    features: str
    compute: Callable[[Comparison], Value]
    against: Against
    array: str = ""
    higher_is_better: bool = False
    enough: int = 0
    fewest: int = 3
    log_scale: bool = False
    of_moments: bool = False
    pair: str | None = None
    of_samples: bool = False
    specific: bool = False
    papers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.features not in (known := [*OWN, PIXELS, LPIPS, LAW, *EXTRACTORS]):
            raise ValueError(f"metric {self.name}: no features {self.features!r}; one of {', '.join(known)}")
        if self.against not in get_args(Against):
            raise ValueError(f"metric {self.name}: against is one of {', '.join(get_args(Against))}")
        if (self.against == "truth") != (self.features in (PIXELS, LPIPS)):
            raise ValueError(f"metric {self.name}: {PIXELS} and {LPIPS} are compared with the truth, and only they")
        if self.features == LAW and self.against != "moments":
            raise ValueError(f"metric {self.name}: of a law the moments are known, and only they")
        if self.array not in (arrays := OWN.get(self.features, (self.array,))):
            raise ValueError(f"metric {self.name}: the arrays of a {self.features} are {' and '.join(arrays)}")

    @property
    def module(self) -> str:
        """The module whose source determines the metric's values."""
        return self.compute.__module__

    @property
    def group(self) -> str:
        """The group in which data sets name it, one of GROUPS."""
        groups = {CLASSIFIER: "classifier", SCORER: "scorer", LAW: "law", PIXELS: "truth", LPIPS: "perceptual"}
        return groups.get(self.features, "captions" if self.captioned else "published")

    @property
    def captioned(self) -> bool:
        """Whether it looks at images with their captions."""
        return self.against == "captions"

    @property
    def takes_statistics(self) -> bool:
        """Whether published statistics may take the place of the data set's own images."""
        return self.against == "moments" and self.features not in (*OWN, LAW)

    @property
    def line(self) -> str:
        return f"{self.summary} ({'higher' if self.higher_is_better else 'lower'} is better)"

    def facts(self) -> dict[str, Any]:
        """What tables and figures need to know of it."""
        names = ("display", "summary", "higher_is_better", "enough", "log_scale", "pair")
        return {name: getattr(self, name) for name in names}


def in_order(metrics: Iterable[Metric]) -> list[Metric]:
    """By group; within a group as they come."""
    return sorted(metrics, key=lambda metric: GROUPS.index(metric.group))
