"""A claim as a suite states it, before there are results."""

import itertools
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...methods.options import Checked

NFE = Annotated[int, Field(ge=1, le=100_000)]
KINDS = {
    "less": ("less", "than"),
    "close": ("close", "to", "share"),
    "order": ("order",),
    "dominates": ("dominates", "over"),
    "flatter": ("flatter", "than_sweep"),
    "faster": ("faster", "than"),
    "split": ("split",),
}
"""By the word that says which test it is, the fields that it needs."""


class Row(Checked):
    """A row of the suite: its method, its variant where the method has several, and an NFE that is not the claim's."""

    method: str
    variant: str | None = None
    nfe: NFE | None = None

    def __str__(self) -> str:
        detail = f" [{self.variant}]" if self.variant else ""
        return self.method + detail + (f" at {self.nfe}" if self.nfe else "")


class Sweep(Checked):
    """Rows of one method that differ in one setting, such as the learning rate."""

    method: str
    variants: Annotated[list[str], Field(min_length=2)]

    def __str__(self) -> str:
        """`sim [l2 …]`: with the words that all variants begin with."""
        words = zip(*(variant.split() for variant in self.variants), strict=False)
        shared = [own[0] for own in itertools.takewhile(lambda own: len(set(own)) == 1, words)]
        return f"{self.method} [{' '.join(shared)} …]" if shared else self.method


class Test(Checked):
    """One comparison of a metric's values A and B, seed by seed.

    less, than: A < factor B - margin. close, to: |A/B - 1| < share. order: each row less than the next. dominates,
    over: less than factor times each of several. flatter, than_sweep: the mean excess of a sweep over its best, in
    logarithms, is less. faster, than: the area under log A against the logarithm of the budget is less.
    split: a row's even seeds against its odd ones, which differ by luck alone: a placebo.
    """

    less: Row | None = None
    close: Row | None = None
    order: Annotated[list[Row], Field(min_length=2)] | None = None
    dominates: Row | None = None
    flatter: Sweep | None = None
    faster: Row | None = None
    split: Row | None = None
    than: Row | None = None
    than_sweep: Sweep | None = None
    to: Row | None = None
    over: Annotated[list[Row], Field(min_length=1)] | None = None
    factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    margin: Annotated[float, Field(ge=0)] = 0.0
    share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "Test":
        given = {
            name for name in (*KINDS, "than", "than_sweep", "to", "over", "share") if getattr(self, name) is not None
        }
        kinds = [kind for kind in KINDS if kind in given]
        if len(kinds) != 1:
            raise ValueError(f"give exactly one of {', '.join(KINDS)}")
        if given != set(KINDS[kinds[0]]):
            raise ValueError(f"{kinds[0]} takes {' and '.join(KINDS[kinds[0]])}, and none of the other kinds' fields")
        return self

    @property
    def kind(self) -> str:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def rows(self) -> list[Row]:
        """Every row that it names."""
        fields = (self.less, self.close, self.dominates, self.faster, self.split, self.than, self.to)
        single = [row for row in fields if row]
        swept = [
            Row(method=sweep.method, variant=variant)
            for sweep in (self.flatter, self.than_sweep)
            if sweep is not None
            for variant in sweep.variants
        ]
        return [*single, *(self.order or []), *(self.over or []), *swept]

    @property
    def by(self) -> str:
        """`0.5 x `, or nothing."""
        return f"{self.factor:g} x " if self.factor != 1 else ""

    def __str__(self) -> str:
        by = self.by
        minus = f" - {self.margin:g}" if self.margin else ""
        said = {
            "less": f"{self.less} < {by}{self.than}{minus}",
            "close": f"{self.close} within {100 * (self.share or 0):g} % of {self.to}",
            "order": " < ".join(map(str, self.order or [])),
            "dominates": f"{self.dominates} < {by}each of {', '.join(map(str, self.over or []))}",
            "flatter": f"{self.flatter} flatter than {self.than_sweep}",
            "faster": f"{self.faster} faster than {self.than}",
            "split": f"{self.split}: even seeds < odd seeds",
        }
        return said[self.kind]


class Where(Checked):
    """nfe: the numbers of evaluations; none where every row names its own. combine: all must hold, or their mean."""

    nfe: list[NFE] = []
    combine: Literal["all", "mean-log"] = "all"


class Paper(Checked):
    """key: of papers.bib, or empty for a placebo. says: its sentence. where: in the paper. scale: of the original."""

    key: str
    says: Annotated[str, Field(min_length=1, max_length=400)]
    where: str = ""
    scale: str = ""


class Claim(Checked):
    """A sentence of a paper and the tests that stand for it, all of which must hold.

    negligible: a gain of this share is worth nothing: a claim does not hold once such a gain is excluded.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=40)]
    paper: Paper
    metric: str
    tests: Annotated[list[Test], Field(min_length=1)]
    at: Where = Where()
    negligible: Annotated[float, Field(gt=0, lt=1)] = 0.05
    placebo: bool = False

    @model_validator(mode="after")
    def _has_nfes(self) -> "Claim":
        if not self.at.nfe and any(row.nfe is None for test in self.tests for row in test.rows):
            raise ValueError("at.nfe is needed where a row does not name its own nfe")
        return self
