"""From a suite to a graph of tasks, each named by the hash of all that determines its result. No torch."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ...datasets.registry import DATASETS
from ...methods.missing import Missing
from ...methods.options import Options
from ...methods.registry import TEACHERS
from ...methods.specs.teachers.pretrain import PretrainOptions
from ...reports.status import Kind, Status
from ..metrics.extractors import EXTRACTORS
from ..metrics.metric import CLASSIFIER, LPIPS, PIXELS
from ..metrics.register import METRICS
from ..suite.schema import Budget, MethodEntry, Suite, Teacher
from . import frozen
from .checkpoints import checkpoint, missing_checkpoint
from .code import method_code
from .kinds import (
    SampleParams,
    ScoreParams,
    Sharing,
    TeacherParams,
    TrainParams,
    TruthParams,
    TuneParams,
    reference_role,
    trial_role,
)
from .references import data_code, extractor_task, identity, lacking, needs_own, published, reference_task
from .task import Task, hashed, in_order


@dataclass(frozen=True)
class Cell:
    """One point of the grid, with the task that scores it, or the reason why it is skipped."""

    dataset: str
    teacher: str
    method: str
    variant: str
    budget: str
    seed: int
    nfe: int
    score: Task | None
    skipped: Status | None = None
    rules: str = "default"
    unmeasured: Mapping[str, Missing] = field(default_factory=dict)
    """Metrics that this machine lacks something for."""

    @property
    def id(self) -> str:
        if self.score is not None:
            return self.score.key
        return hashed([self.dataset, self.teacher, self.method, self.variant, self.budget, self.seed, self.nfe])


@dataclass(frozen=True)
class Plan:
    suite: Suite
    cells: list[Cell]

    def tasks(self) -> list[Task]:
        """Every task once, inputs before the tasks that read them."""
        return in_order(cell.score for cell in self.cells if cell.score is not None)


def make_plan(suite: Suite) -> Plan:
    """The cells of the suite in its own order, with their tasks."""
    cells = []
    for dataset, teacher in itertools.product(suite.datasets, suite.teachers):
        problem = Problem(suite, dataset, teacher)
        cells += [cell for entry in suite.methods for cell in problem.cells(entry)]
    return Plan(suite, cells)


@dataclass(frozen=True)
class Problem:
    """One data set with one teacher: what every method of the suite is run on."""

    suite: Suite
    dataset: str
    teacher: Teacher

    def missing(self) -> Missing | None:
        """What of data set and teacher is missing; None if nothing."""
        return DATASETS[self.dataset].missing() or missing_checkpoint(self.teacher) or self.teacher.missing()

    @property
    def data_code(self) -> tuple[str, ...]:
        return data_code(self.dataset)

    @property
    def guidance(self) -> float | None:
        """What the tasks after the teacher's know of guidance: the weights are trained once for all its scales."""
        scale: float | None = getattr(self.teacher, "guidance", None)
        return scale

    @cached_property
    def teacher_task(self) -> Task:
        guided = self.guidance is not None
        trained = self.teacher.model_copy(update={"guidance": None}) if guided else self.teacher
        params = TeacherParams(
            dataset=self.dataset,
            teacher=trained.model_dump(mode="json", exclude={"guidance", "label"}),
            device=self.suite.device,
            **identity(self.dataset),
            **checkpoint(trained, DATASETS[self.dataset].shape),
            identity=trained.identity() or None,
            **frozen.identity(frozen.teacher(trained)),
        )
        cost = 4.0 * self.teacher.images if isinstance(self.teacher, PretrainOptions) else 0.0
        code = (*self.data_code, TEACHERS[trained.name].module, type(trained).__module__)
        return Task(params, {}, code, cost, f"teacher {trained.shown()} on {self.dataset}")

    @cached_property
    def extractor_task(self) -> Task:
        return extractor_task(self.dataset, self.suite.device, self.suite.classifier)

    @cached_property
    def references(self) -> dict[str, dict[str, str]]:
        return published(self.suite.references)

    @cached_property
    def unmeasured(self) -> dict[str, Missing]:
        """The metrics that this machine lacks something for: what, and how to get it."""
        return lacking(self.suite.metrics, self.suite.references)

    def truth_task(self, seed: int) -> Task:
        samples = min(self.suite.truth.samples, self.suite.samples)
        params = TruthParams(
            seed=seed,
            samples=samples,
            tolerance=self.suite.truth.tolerance,
            device=self.suite.device,
            guidance=self.guidance,
        )
        cost = 170.0 * samples * (1 if self.guidance is None else 2)
        return Task(params, {"teacher": self.teacher_task}, self.data_code, cost, f"truth seed {seed}")

    def train_task(self, entry: MethodEntry, budget: Budget, seed: int, nfe: int) -> Task:
        """The run that makes the row's student, or the choice among the trials that share its budget."""
        if entry.tune is None:
            return self._run_task(entry, entry.checked(), budget, seed, nfe)
        looked_at = nfe if entry.spec.per_nfe else entry.tune.nfe or (entry.nfe or self.suite.nfe)[0]
        shared = Sharing(trials=len(entry.tune.trials), samples=entry.tune.samples, nfe=looked_at)
        trials = [self._run_task(entry, options, budget, seed, nfe, shared) for options in entry.trials()]
        params = TuneParams(
            seed=seed,
            budget=budget.given(),
            device=self.suite.device,
            trials=shared.trials,
            samples=shared.samples,
            nfe=shared.nfe,
            guidance=self.guidance,
        )
        inputs = {"teacher": self.teacher_task, "extractor": self.extractor_task}
        inputs |= {trial_role(j): trial for j, trial in enumerate(trials)}
        label = f"choose {entry.name} seed {seed}, {budget.label()}, of {len(trials)}"
        code = (*self.data_code, *method_code(entry.spec, *entry.trials()))
        return Task(params, inputs, code, 1_000.0 * len(trials), label)

    def _run_task(
        self,
        entry: MethodEntry,
        options: Options,
        budget: Budget,
        seed: int,
        nfe: int,
        shared: Sharing | None = None,
    ) -> Task:
        """One training run; `shared` says between how many trials the budget is divided, and what choosing takes."""
        params = TrainParams(
            method=entry.name,
            options=options.model_dump(mode="json"),
            budget=budget.given(),
            seed=seed,
            device=self.suite.device,
            nfe=nfe if entry.spec.per_nfe else None,
            shared=shared,
            guidance=self.guidance,
        )
        shipped = frozen.teacher(self.teacher)
        whole = frozen.training(shipped) if shipped else 4.0 * getattr(self.teacher, "images", 0)
        rate = {"evaluations": 1.3, "images": 8.0, "flops": 0.0, "seconds": 6000.0, "teacher": whole}
        cost = budget.amount * rate[budget.unit] / (shared.trials if shared else 1)
        label = f"train {entry.name} seed {seed}, {budget.label()}" + (f", NFE {nfe}" if entry.spec.per_nfe else "")
        inputs = {"teacher": self.teacher_task}
        if shared is not None or options.needs_quality:
            inputs["extractor"] = self.extractor_task
        return Task(params, inputs, (*self.data_code, *method_code(entry.spec, options)), cost, label)

    def cells(self, entry: MethodEntry) -> Iterator[Cell]:
        budgets = (entry.budgets or self.suite.budgets) if entry.spec.trains else [None]
        grid = itertools.product(budgets, self.suite.seeds, entry.nfe or self.suite.nfe)
        missing = self.missing() or self._source(entry).missing() or entry.missing()
        for budget, seed, nfe in grid:
            skipped = _skipped(missing, entry.refusal(nfe))
            yield Cell(
                DATASETS[self.dataset].shown,
                self.teacher.shown(),
                entry.name,
                entry.label(),
                budget.label() if budget else "0",
                seed,
                nfe,
                None if skipped else self._score_task(entry, budget, seed, nfe),
                skipped,
                entry.rules(),
                self.unmeasured,
            )

    def _source(self, entry: MethodEntry) -> "Problem":
        """Where the method is trained: here, or where the entry says."""
        if entry.fitted_on is None:
            return self
        return Problem(self.suite, entry.fitted_on.dataset, entry.fitted_on.teacher or self.teacher)

    def _score_task(self, entry: MethodEntry, budget: Budget | None, seed: int, nfe: int) -> Task:
        inputs = {"teacher": self.teacher_task}
        if budget is not None:
            inputs["train"] = self._source(entry).train_task(entry, budget, seed, nfe)
        params = SampleParams(
            method=entry.name,
            options=entry.checked().model_dump(mode="json"),
            seed=seed,
            nfe=nfe,
            samples=self.suite.samples,
            device=self.suite.device,
            guidance=self.guidance,
            transfer=entry.fitted_on is not None,
        )
        what = f"{entry.name} NFE {nfe} seed {seed}"
        code = (*self.data_code, *method_code(entry.spec, *entry.trials()))
        sample = Task(params, inputs, code, float(nfe * self.suite.samples), f"sample {what}")
        return self._scoring(sample, seed, what)

    def _scoring(self, sample: Task, seed: int, what: str) -> Task:
        """The score of a cell's samples by the metrics that can be had here."""
        metrics = [name for name in self.suite.metrics if name not in self.unmeasured]
        inputs: dict[str, Task] = {"sample": sample}
        extractors: dict[str, str] = {}
        for name in dict.fromkeys(METRICS[metric].features for metric in metrics):
            if name in (PIXELS, LPIPS):
                inputs["truth"] = self.truth_task(seed)
            elif name == CLASSIFIER:
                inputs["extractor"] = self.extractor_task
            else:
                extractors[name] = EXTRACTORS[name].protocol()
                if needs_own([m for m in metrics if METRICS[m].features == name], self.suite.references):
                    inputs[reference_role(name)] = reference_task(self.dataset, name, self.suite.device)
        params = ScoreParams(
            metrics=sorted(metrics),
            device=self.suite.device,
            rounding=self.suite.rounding,
            references={name: self.references[name] for name in metrics if name in self.references},
            extractors=extractors,
        )
        code = (*self.data_code, *dict.fromkeys(METRICS[name].module for name in metrics))
        return Task(params, inputs, code, 1_500.0, f"score {what}")


def _skipped(missing: Missing | None, refusal: str | None) -> Status | None:
    if missing is not None:
        return Status(Kind.LACKING, missing.detail)
    return None if refusal is None else Status(Kind.SKIPPED, refusal)
