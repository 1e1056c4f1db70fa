"""What the JSON files of a run folder must hold for the reports to read them; they may hold more."""

from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

OPEN = ConfigDict(extra="allow")
Finite = Annotated[float, Field(allow_inf_nan=False)]


class MetricFacts(TypedDict):
    """An object of metrics.json, by the fields of run_folder.Metric."""

    display: NotRequired[str]
    summary: NotRequired[str]
    higher_is_better: NotRequired[bool]
    enough: NotRequired[int]
    log_scale: NotRequired[bool]
    pair: NotRequired[str | None]


class MethodFacts(TypedDict):
    """An object of methods.json, by the fields of run_folder.Method."""

    display: NotRequired[str]
    kind: NotRequired[str]
    papers: NotRequired[tuple[str, ...]]
    data_free: NotRequired[bool | None]


@with_config(OPEN)
class Teacher(TypedDict):
    label: str
    parameters: int
    flops_per_evaluation: Finite
    train_evaluations: Finite


@with_config(OPEN)
class Extractor(TypedDict):
    metric: str
    held_out: int
    held_out_accuracy: Finite
    reference: int


@with_config(OPEN)
class Truth(TypedDict):
    samples: int
    tolerance: Finite


@with_config(OPEN)
class Environment(TypedDict):
    """Where a run was made, as pages of published results say it."""

    fewstep: str
    torch: str
    python: str
    platform: str
    device: str
    threads: int
    git_commit: NotRequired[str | None]


@with_config(OPEN)
class RunFacts(TypedDict):
    """run.json. guidance: the scale of each guided teacher, by its label. evaluated: what `fewstep evaluate` was asked,
    for a folder of its results. joined: the environment, command and times of each part, where parts were joined.
    """

    suite: NotRequired[str]
    description: NotRequired[str | None]
    teachers: NotRequired[list[Teacher]]
    guidance: NotRequired[dict[str, Finite]]
    extractors: NotRequired[list[Extractor]]
    truth: NotRequired[Truth]
    environment: NotRequired[Environment]
    evaluated: NotRequired[dict[str, Any]]
    argv: NotRequired[list[str]]
    started: NotRequired[str]
    ended: NotRequired[str]
    claims: NotRequired[dict[str, str]]
    joined: NotRequired[list[dict[str, Any]]]
    stamp: NotRequired[str]


def _amount_first(budget: str) -> str:
    float((budget.split() or [""])[0])
    return budget


def _fit(learned: list[tuple[str, list[float]]]) -> list[tuple[str, list[float]]]:
    (across, x), *others = learned
    longer = next((name for name, y in others if len(y) > len(x)), None)
    if longer is not None:
        raise ValueError(f"{longer} has more numbers than {across}")
    return learned


class Learned(TypedDict):
    """An entry of learned.json: the first numbers are what the others are drawn against."""

    dataset: str
    teacher: str
    method: str
    variant: str
    budget: Annotated[str, AfterValidator(_amount_first)]
    seed: int
    nfe: int
    learned: Annotated[list[tuple[str, list[Finite]]], Field(min_length=1), AfterValidator(_fit)]


METRICS: TypeAdapter[dict[str, MetricFacts]] = TypeAdapter(dict[str, MetricFacts])
METHODS: TypeAdapter[dict[str, MethodFacts]] = TypeAdapter(dict[str, MethodFacts])
FACTS: TypeAdapter[RunFacts] = TypeAdapter(RunFacts)
LEARNED: TypeAdapter[list[Learned]] = TypeAdapter(list[Learned])
