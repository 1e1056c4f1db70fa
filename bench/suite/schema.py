"""A suite file: what to compare. Checked by a schema, every mistake named with its line. No torch."""

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ...methods import registry
from ...methods.missing import Missing
from ...methods.options import LARGEST_INTEGER, Checked, NamedOptions, Options
from ...methods.portable import name_refusal
from ...methods.specs.base import LARGEST_BATCH
from ...methods.specs.teachers.base import TeacherOptions, printable
from ...reports.claims.model import Claim
from ..machine import device_refusal
from .short_forms import expanded


def _listed(value: Any) -> Any:
    """A single value stands for a list of one."""
    return value if isinstance(value, list) else [value]


def _rows(value: Any) -> Any:
    """A list of methods, of which each is a mapping or, with all its defaults, a name alone."""
    return [{"name": row} if isinstance(row, str) else row for row in _listed(value)]


def _folder(name: str) -> str:
    if refusal := name_refusal(name):
        raise ValueError(refusal)
    return name


def _device(value: Any) -> Any:
    if isinstance(value, str) and (refusal := device_refusal(value)):
        raise ValueError(refusal)
    return value


def _several(values: list[Any]) -> list[Any]:
    if len(values) < 2:
        raise ValueError("give at least two")
    return values


COMPUTING = ("precision", "channels_last", "compile")
"""The options that say how networks are computed."""
WORDS = {"channels_last": "channels last", "compile": "compiled"}

Samples = Annotated[int, Field(ge=1, le=10**9)]
NFE = Annotated[int, Field(ge=1, le=100_000)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]


class Budget(Options):
    """What one training run of one method may spend: exactly one of the units.

    evaluations: forwards of the teacher's network on one sample, in measured FLOPs. flops. images: of the batches.
    seconds: of the steps, on this machine: not reproducible. teacher: a share of what training the teacher took.
    iterations: steps of the optimiser; phase_iterations: of each phase, where students follow each other.
    trajectories: true paths that a learned solver is trained on. batches: that D-ODE is fitted on.
    """

    evaluations: float | None = Field(None, gt=0, le=1e18)
    flops: float | None = Field(None, gt=0, le=1e30)
    images: float | None = Field(None, gt=0, le=1e18)
    seconds: float | None = Field(None, gt=0, le=1e10)
    teacher: float | None = Field(None, gt=0, le=1e6)
    iterations: int | None = Field(None, ge=1, le=10**12)
    phase_iterations: tuple[Annotated[int, Field(ge=1, le=10**12)], ...] | None = Field(None, min_length=1)
    trajectories: int | None = Field(None, ge=1, le=LARGEST_BATCH)
    batches: int | None = Field(None, ge=1, le=10**4)

    @model_validator(mode="after")
    def _one_unit(self) -> "Budget":
        if len(self.given()) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}")
        return self

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)

    @property
    def unit(self) -> str:
        return next(iter(self.given()))

    @property
    def amount(self) -> float:
        """Of all phases."""
        given = next(iter(self.given().values()))
        return sum(given) if isinstance(given, tuple) else given

    def label(self) -> str:
        if self.phase_iterations is None:
            return f"{self.amount:.12g} {self.unit}"
        runs = [(steps, len(list(group))) for steps, group in itertools.groupby(self.phase_iterations)]
        phases = "+".join(f"{count}x{steps}" if count > 1 else str(steps) for steps, count in runs)
        return f"{self.amount:.12g} iterations in phases {phases}"


class Truth(Options):
    """The exact ODE solutions: RK45 with rtol = atol = tolerance, for the first `samples` noises of each seed."""

    samples: Samples = 256
    tolerance: float = Field(1e-6, ge=1e-12, le=1)


if TYPE_CHECKING:
    Teacher = TeacherOptions
else:
    Teacher = Annotated[
        Union[tuple(spec.options for spec in registry.TEACHERS.values())],  # noqa: UP007
        Field(discriminator="name"),
        BeforeValidator(expanded),
    ]
"""The options of any kind of teacher that is installed, told apart by `name`, or a word that means some."""


class Published(Options):
    """The rows of published tables that stand beside a problem's: by the tables' own words.

    teacher: where a table has several networks on one data set. solver_or_variant: where its rows tell them apart.
    guidance: of rows that were sampled with that scale.
    """

    dataset: str
    conditioning: str | None = None
    teacher: str | None = None
    guidance: float | None = Field(None, ge=0, le=1000)
    solver_or_variant: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] | None = None


class PublishedRow(Options):
    """The published rows that stand beside a method's: by the table's own words, any of several.

    own_settings: the paper does not print its settings. paper_budget: what the paper trained for, in the row's unit.
    forwards_per_nfe: how many evaluations of the paper's count one of ours is.
    """

    method: str
    solver_or_variant: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] | None = None
    own_settings: bool = False
    paper_budget: Budget | None = None
    forwards_per_nfe: int = Field(1, ge=1, le=16)


class OtherTable(Options):
    """A table of leaderboards/published.csv, all tables of the paper without one."""

    key: str
    table: str | None = None


class PaperTable(OtherTable):
    """The table that a suite repeats. also: others' tables that print numbers of the same rows."""

    also: Annotated[list[OtherTable], BeforeValidator(_listed)] = []


class ProblemEntry(Options):
    """One data set with one teacher, where a suite does not combine all with all; `references` and `samples` as the
    suite's, in whose place they are.
    """

    dataset: str
    teacher: Teacher
    references: dict[str, str] = {}
    samples: Samples | None = None
    published: Published | None = None


class FittedOn(Options):
    """Where a learned solver is fitted, if not on the row's own data set (the transfer of Shaul et al. 2024)."""

    dataset: str
    teacher: Teacher | None = None


class Tuning(Options):
    """The rule set "tuned" (AlgoPerf's external tuning, Dahl et al. 2023, with every trial charged).

    The trials, options laid over the entry's, share the row's budget: each has an equal part, less what choosing
    costs. Chosen is the student whose samples have the smallest Fréchet distance to the data, on `samples` noises
    of the selection's own; `nfe` is where a method that is trained for all NFEs is looked at, by default the row's
    first.
    """

    trials: Annotated[list[dict[str, Any]], AfterValidator(_several)]
    samples: int = Field(512, ge=2, le=10**9)
    nfe: NFE | None = None


class MethodEntry(Options):
    """One method of the grid; `variant` names it where options are not enough; `nfe` and `budgets` override
    the suite's; without `tune` its options are frozen, the rule set "default". `on` names the teachers of a row, by
    their labels, or the data sets of one that was made elsewhere.
    """

    name: str
    options: dict[str, Any] = {}
    nfe: Annotated[list[NFE], BeforeValidator(_listed), Field(min_length=1)] | None = None
    budgets: Annotated[list[Budget], BeforeValidator(_listed), Field(min_length=1)] | None = None
    variant: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(printable)] | None = None
    fitted_on: FittedOn | None = None
    tune: Tuning | None = None
    published: PublishedRow | None = None
    on: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] | None = None

    @property
    def spec(self) -> registry.MethodSpec:
        return registry.method(self.name)

    def checked(self) -> Options:
        return self.spec.options.model_validate(self.options)

    def trials(self) -> list[Options]:
        """The options of each trial, checked; one where nothing is tuned."""
        laid_over = self.tune.trials if self.tune is not None else [{}]
        return [self.spec.options.model_validate({**self.options, **trial}) for trial in laid_over]

    def refusal(self, nfe: int) -> str | None:
        """Why the method cannot sample with this NFE under its options, or under those of one of its trials."""
        return next((reason for options in self.trials() if (reason := self.spec.refusal(nfe, options))), None)

    def missing(self) -> Missing | None:
        """What its options need and this machine lacks."""
        return next((found for options in self.trials() if (found := options.missing()) is not None), None)

    def rules(self) -> str:
        """The rule set by which the hyper-parameters were found, or who made the row."""
        if self.spec.elsewhere:
            return self.spec.made
        return "default" if self.tune is None else f"tuned of {len(self.tune.trials)}"

    def label(self) -> str:
        """What tells this row from others of the same method: its grid, and the options that are not default."""
        if self.variant is not None:
            return self.variant
        checked = self.checked()
        if isinstance(checked, NamedOptions):
            return checked.label()
        grid = getattr(checked, "grid", None)
        changed = checked.model_dump(exclude_defaults=True, exclude={"grid"})
        words = [f"{key}={_short(getattr(checked, key), value)}" for key, value in changed.items()]
        if self.fitted_on is not None:
            words.append(f"fitted_on={self.fitted_on.dataset}")
        if self.tune is not None:
            words.append(self.rules())
        return " ".join([*([grid.label()] if grid else []), *words])

    def untuned_label(self) -> str:
        """The label without the rule set: what a tuned row shares with one of default options."""
        return self.label() if self.tune is None else self.label().removesuffix(self.rules()).rstrip()


def _short(option: Any, dumped: Any) -> Any:
    """An option as a table shows it: nested options that have a short form are shown by it."""
    return option.label() if hasattr(option, "label") else dumped


class Suite(Checked):
    """A grid of cells: datasets x teachers x methods x budgets x seeds x nfe; `problems` may take the place of the
    first two, see `pairs`.
    """

    name: Annotated[str, AfterValidator(_folder)] = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    description: str = ""
    paper: PaperTable | None = None
    """Whose table the suite repeats; `published` of its problems and methods say which rows stand beside which."""
    datasets: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)] = []
    teachers: Annotated[list[Teacher], BeforeValidator(_listed), Field(min_length=1)] = []
    problems: Annotated[list[ProblemEntry], BeforeValidator(_listed), Field(min_length=1)] = []
    methods: Annotated[list[MethodEntry], BeforeValidator(_rows), Field(min_length=1)]
    budgets: Annotated[list[Budget], BeforeValidator(_listed), Field(min_length=1)] = []
    """Left out where no method is trained."""
    seeds: Annotated[list[Seed], BeforeValidator(_listed), Field(min_length=1)] = [0]
    nfe: Annotated[list[NFE], BeforeValidator(_listed), Field(min_length=1)]
    samples: Samples = 1797
    metrics: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    truth: Truth = Truth()
    rounding: Literal["round", "truncate"] = "round"
    """How samples become the 8 bits that published networks see: to the nearest level (EDM), or cut off (ADM)."""
    references: dict[str, str] = {}
    """Metric -> published statistics to compare with instead of the data set's own images: a known name or a path."""
    labels: Literal["data", "uniform"] = "data"
    """How the labels of a class-conditional teacher's samples are drawn: in the data set's proportions, or all classes
    alike (EDM, CM, D-ODE)."""
    classifier: Literal["shipped", "trained"] = "shipped"
    """The network behind fd_digits and its like: the one that fewstep ships for the data set, or one that this suite
    trains, as it does where none is shipped."""
    precision: Literal["float32", "tf32", "bf16", "fp16"] = "float32"
    """That of networks in training and sampling, and of nothing else: see methods/computing.py, as for the next two."""
    channels_last: bool = False
    compile: bool = False
    claims: list[Claim] = []
    """Sentences of papers and the tests that stand for them, for `fewstep claims`; they change no result."""
    device: Annotated[Literal["auto", "cpu", "cuda"], BeforeValidator(_device)] = "auto"

    @property
    def computing(self) -> dict[str, Any]:
        """How networks are computed, as far as that is not the default."""
        return {name: value for name in COMPUTING if (value := getattr(self, name)) not in ("float32", False)}

    def called(self, teacher: TeacherOptions) -> str:
        """What tables call a teacher: networks that are computed in another way are others."""
        words = [value if isinstance(value, str) else WORDS[name] for name, value in self.computing.items()]
        return f"{teacher.shown()} ({', '.join(words)})" if words else teacher.shown()
