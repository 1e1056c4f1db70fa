"""A suite file: what to compare. Checked by a schema, every mistake named with its line. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from ...datasets.registry import DATASETS
from ...methods import registry
from ...methods.options import CheckpointOptions, ExactOptions, Options, PretrainOptions
from .. import published_files as weights
from ..errors import InputError
from ..metrics.register import METRICS, defined
from ..plan import checkpoints
from ..plan.references import known_statistics, statistics
from .document import Document, Location, describe

SHIPPED = Path(__file__).parent / "shipped"


def _listed(value: Any) -> Any:
    """A single value stands for a list of one."""
    return value if isinstance(value, list) else [value]


def _unique(values: list[Any]) -> list[Any]:
    if len({repr(value) for value in values}) < len(values):
        raise ValueError("the same value stands there twice")
    return values


def _several(values: list[Any]) -> list[Any]:
    if len(values) < 2:
        raise ValueError("give at least two")
    return values


Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class Budget(Options):
    """What one training run of one method may spend: exactly one of the units.

    evaluations: forwards of the teacher's network on one sample, in measured FLOPs. flops. images: of the batches.
    seconds: of the steps, on this machine: not reproducible. teacher: a share of what training the teacher took.
    """

    evaluations: float | None = Field(None, gt=0)
    flops: float | None = Field(None, gt=0)
    images: float | None = Field(None, gt=0)
    seconds: float | None = Field(None, gt=0)
    teacher: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _one_unit(self) -> "Budget":
        if len(self.given()) != 1:
            raise ValueError(f"give exactly one of {', '.join(type(self).model_fields)}")
        return self

    def given(self) -> dict[str, float]:
        return self.model_dump(exclude_none=True)

    @property
    def unit(self) -> str:
        return next(iter(self.given()))

    @property
    def amount(self) -> float:
        return next(iter(self.given().values()))

    def label(self) -> str:
        return f"{self.amount:.12g} {self.unit}"


class Truth(Options):
    """The exact ODE solutions: RK45 with rtol = atol = tolerance, for the first `samples` noises of each seed."""

    samples: Positive = 256
    tolerance: float = Field(1e-6, gt=0)


Teacher = Annotated[PretrainOptions | CheckpointOptions | ExactOptions, Field(discriminator="name")]
TEACHERS = (PretrainOptions, CheckpointOptions, ExactOptions)


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

    trials: Annotated[list[dict[str, Any]], AfterValidator(_unique), AfterValidator(_several)]
    samples: int = Field(512, ge=2)
    nfe: Positive | None = None


class MethodEntry(Options):
    """One method of the grid; `variant` names it where options are not enough; `nfe` and `budgets` override
    the suite's; without `tune` its options are frozen, the rule set "default".
    """

    name: str
    options: dict[str, Any] = {}
    nfe: Annotated[list[Positive], BeforeValidator(_listed), Field(min_length=1)] | None = None
    budgets: Annotated[list[Budget], BeforeValidator(_listed), Field(min_length=1)] | None = None
    variant: str | None = None
    fitted_on: FittedOn | None = None
    tune: Tuning | None = None

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

    def rules(self) -> str:
        """The rule set by which the hyper-parameters were found."""
        return "default" if self.tune is None else f"tuned of {len(self.tune.trials)}"

    def label(self) -> str:
        """What tells this row from others of the same method: its grid, and the options that are not default."""
        if self.variant is not None:
            return self.variant
        checked = self.checked()
        grid = getattr(checked, "grid", None)
        changed = checked.model_dump(exclude_defaults=True, exclude={"grid"})
        words = [f"{key}={_short(getattr(checked, key), value)}" for key, value in changed.items()]
        if self.fitted_on is not None:
            words.append(f"fitted_on={self.fitted_on.dataset}")
        if self.tune is not None:
            words.append(self.rules())
        return " ".join([*([grid.label()] if grid else []), *words])


def _short(option: Any, dumped: Any) -> Any:
    """An option as a table shows it: nested options that have a short form are shown by it."""
    return option.label() if hasattr(option, "label") else dumped


class Suite(BaseModel):
    """A grid of cells: datasets x teachers x methods x budgets x seeds x nfe."""

    model_config = {"extra": "forbid", "frozen": True}

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    datasets: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    teachers: Annotated[list[Teacher], BeforeValidator(_listed), Field(min_length=1)]
    methods: Annotated[list[MethodEntry], BeforeValidator(_listed), Field(min_length=1)]
    budgets: Annotated[list[Budget], BeforeValidator(_listed), Field(min_length=1)]
    seeds: Annotated[list[Seed], BeforeValidator(_listed), AfterValidator(_unique), Field(min_length=1)] = [0]
    nfe: Annotated[list[Positive], BeforeValidator(_listed), AfterValidator(_unique), Field(min_length=1)]
    samples: Positive = 1797
    metrics: Annotated[list[str], BeforeValidator(_listed), AfterValidator(_unique), Field(min_length=1)]
    truth: Truth = Truth()
    rounding: Literal["round", "truncate"] = "round"
    """How samples become the 8 bits that published networks see: to the nearest level (EDM), or cut off (ADM)."""
    references: dict[str, str] = {}
    """Metric -> published statistics to compare with instead of the data set's own images: a known name or a path."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


def find(suite: str) -> Path:
    """The file that SUITE means: a path, or the name of a shipped suite."""
    path = Path(suite)
    if path.is_file():
        return path
    shipped = shipped_names()
    if suite in shipped:
        return SHIPPED / f"{suite}.yaml"
    raise InputError(f"no suite {suite!r}: not a file, nor a shipped suite{registry.did_you_mean(suite, shipped)}")


def shipped_names() -> list[str]:
    return sorted(str(path.relative_to(SHIPPED).with_suffix("")) for path in SHIPPED.rglob("*.yaml"))


def load(suite: str, settings: Sequence[str] = ()) -> Suite:
    """The suite of a path or shipped name with `KEY=VALUE` settings applied; InputError says what is wrong."""
    path = find(suite)
    try:
        document = Document(path.name if path.parent == SHIPPED else str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    for setting in settings:
        document.set(setting)
    try:
        checked = Suite.model_validate(document.data)
    except ValidationError as error:
        raise InputError(describe(document, (), error, Suite)) from None
    _check_methods(document, checked)
    _check_datasets(document, checked)
    _check_references(document, checked)
    _check_checkpoints(document, checked)
    return checked


def _is_conditional(teacher: Teacher) -> bool:
    return isinstance(teacher, PretrainOptions) and teacher.label_dropout is not None


def _check_methods(document: Document, suite: Suite) -> None:
    for i, entry in enumerate(suite.methods):
        where = ("methods", i)
        try:
            spec = entry.spec
        except registry.UnknownNameError as error:
            raise InputError(document.at((*where, "name"), str(error))) from None
        try:
            entry.checked()
        except ValidationError as error:
            raise InputError(describe(document, (*where, "options"), error, spec.options)) from None
        if entry.fitted_on is not None:
            _check_fitted_on(document, (*where, "fitted_on"), entry)
        if entry.tune is not None:
            _check_tuning(document, (*where, "tune"), suite, entry)
        exact = [j for j, teacher in enumerate(suite.teachers) if isinstance(teacher, ExactOptions)]
        if spec.needs_network and exact:
            message = f"{entry.name} trains a copy of the teacher's network, and teacher 'exact' is a formula"
            raise InputError(document.at((*where, "name"), message + "; use a pretrain teacher"))
        budgets = (entry.budgets or suite.budgets) if spec.trains else []
        untrained = [teacher.name for teacher in suite.teachers if not isinstance(teacher, PretrainOptions)]
        if untrained and any(budget.unit == "teacher" for budget in budgets):
            message = f"a budget in shares of the teacher's training, and the suite does not train {untrained[0]!r}"
            raise InputError(document.at((*where, "name"), f"{entry.name}: {message}; give it in evaluations"))
        conditional = [teacher for teacher in suite.teachers if _is_conditional(teacher)]
        if spec.trains and not spec.conditional and conditional:
            message = f"{entry.name} trains without labels, and teacher {conditional[0].label()} needs them"
            raise InputError(document.at((*where, "name"), message + "; leave one of the two out"))
    rows = [(entry.name, entry.label()) for entry in suite.methods]
    for i, row in enumerate(rows):
        if row in rows[:i]:
            message = f"{row[0]} stands there twice with the same options; give one of them a variant"
            raise InputError(document.at(("methods", i, "name"), message))


def _check_tuning(document: Document, where: Location, suite: Suite, entry: MethodEntry) -> None:
    assert entry.tune is not None
    if not entry.spec.trains:
        raise InputError(document.at(where, f"{entry.name} is not trained: there is nothing to share a budget"))
    if entry.fitted_on is not None:
        raise InputError(document.at(where, "a row fitted elsewhere is not tuned; leave out tune or fitted_on"))
    for j, trial in enumerate(entry.tune.trials):
        try:
            entry.spec.options.model_validate({**entry.options, **trial})
        except ValidationError as error:
            raise InputError(describe(document, (*where, "trials", j), error, entry.spec.options)) from None
    for budget in entry.budgets or suite.budgets:
        if budget.unit not in ("evaluations", "flops", "teacher"):
            message = f"trials share a budget that is measured in FLOPs, not in {budget.unit}; give it in evaluations"
            raise InputError(document.at(where, message))
    if entry.spec.per_nfe:
        if entry.tune.nfe is not None:
            raise InputError(
                document.at((*where, "nfe"), f"{entry.name} is trained, and chosen, per NFE; leave it out")
            )
    elif (reason := entry.refusal(nfe := entry.tune.nfe or (entry.nfe or suite.nfe)[0])) is not None:
        raise InputError(document.at(where, f"{entry.name} cannot be looked at with NFE {nfe}: {reason}; set nfe"))


def _check_fitted_on(document: Document, where: Location, entry: MethodEntry) -> None:
    assert entry.fitted_on is not None
    if not entry.spec.transfers:
        raise InputError(document.at(where, f"{entry.name} is not a learned solver; only these are fitted elsewhere"))
    try:
        registry.pick(DATASETS, entry.fitted_on.dataset, "dataset")
    except registry.UnknownNameError as error:
        raise InputError(document.at((*where, "dataset"), str(error))) from None


def _check_datasets(document: Document, suite: Suite) -> None:
    for i, name in enumerate(suite.datasets):
        try:
            spec = registry.pick(DATASETS, name, "dataset")
        except registry.UnknownNameError as error:
            raise InputError(document.at(("datasets", i), str(error))) from None
        for j, metric in enumerate(suite.metrics):
            if metric not in METRICS:
                message = f"unknown metric {metric!r}{registry.did_you_mean(metric, METRICS)}"
                raise InputError(document.at(("metrics", j), message))
            if metric not in (known := defined(spec.metrics, spec.quality)):
                message = f"{metric} is not defined on {name}, which has {', '.join(known)}"
                raise InputError(document.at(("metrics", j), message))
        for j, entry in enumerate(suite.methods):
            if (entry.tune or entry.checked().needs_quality) and not spec.quality:
                message = f"{entry.name} with these options selects by a Fréchet distance, which {name} does not have"
                raise InputError(document.at(("methods", j, "options"), message))
        for k, teacher in enumerate(suite.teachers):
            network = getattr(teacher, "network", None)
            if network is not None and (network.name == "unet") != (len(spec.shape) == 3):
                message = f"a {network.name} does not fit {name}, whose samples have shape {spec.shape}"
                raise InputError(document.at(("teachers", k, "network"), message))
            if isinstance(teacher, CheckpointOptions) and len(spec.shape) != 3:
                message = f"its network is one of images, and {name}'s samples have shape {spec.shape}"
                raise InputError(document.at(("teachers", k, "file"), message))
            if _is_conditional(teacher) and not spec.classes:
                message = f"{name} has no labels, and a teacher with label_dropout is trained on them; leave it out"
                raise InputError(document.at(("teachers", k, "label_dropout"), message))


def _check_references(document: Document, suite: Suite) -> None:
    for metric, file in suite.references.items():
        where = ("references", metric)
        if metric not in suite.metrics:
            raise InputError(document.at(where, f"{metric} is not among the suite's metrics"))
        if not METRICS[metric].takes_statistics:
            raise InputError(document.at(where, f"{metric} does not compare with published moments; leave it out"))
        if statistics(file) is None:
            near = registry.did_you_mean(file, known_statistics())
            message = f"no file {file}, and no known statistics of that name{near}"
            raise InputError(document.at(where, message))


def _check_checkpoints(document: Document, suite: Suite) -> None:
    for k, teacher in enumerate(suite.teachers):
        if isinstance(teacher, CheckpointOptions) and checkpoints.meant(teacher.file) is None:
            near = registry.did_you_mean(teacher.file, weights.known_names(weights.CHECKPOINTS))
            message = f"no file {teacher.file}, and no known network of that name{near}"
            raise InputError(document.at(("teachers", k, "file"), message))
