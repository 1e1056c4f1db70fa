"""From a suite to a graph of tasks, each named by the hash of all that determines its result. No torch."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...datasets.registry import DATASETS
from ...methods.missing import Missing
from ...reports.status import Kind, Status
from ..suite.schema import Budget, MethodEntry, Suite
from . import elsewhere
from .code import method_code
from .kinds import SampleParams
from .memory import lacking_memory
from .needs import training_reads_data
from .problem import Problem, problems
from .task import Task, hashed, in_order
from .training import Training

UNTRAINED = "0"
"""The budget of a row without training."""


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
    undefined: Mapping[str, str] = field(default_factory=dict)
    """Metrics that the row cannot have, and why."""

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
        """Every task once, inputs before the tasks that read them, in the order in which they are done.

        The first seed of everything is scored before the second, and what needs no training before what does.
        """
        seeds = {seed: i for i, seed in enumerate(self.suite.seeds)}
        free = (UNTRAINED, elsewhere.BUDGET)
        ordered = sorted(self.cells, key=lambda cell: (seeds[cell.seed], cell.budget not in free))
        return in_order(cell.score for cell in ordered if cell.score is not None)


def make_plan(suite: Suite) -> Plan:
    """The cells of the suite in its own order, with their tasks."""
    cells: list[Cell] = []
    here = problems(suite)
    alone = {id(problem): problem for problem in elsewhere.places(suite, here)}
    for problem in here or alone.values():
        for entry in suite.methods:
            if not entry.spec.elsewhere:
                if entry.on is None or problem.teacher.shown() in entry.on:
                    cells += Row(problem, entry).cells()
            elif not entry.spec.alone or id(problem) in alone:
                cells += _cells_made_elsewhere(problem, entry)
    return Plan(suite, cells)


def _cells_made_elsewhere(problem: Problem, entry: MethodEntry) -> Iterator[Cell]:
    for row in elsewhere.rows(problem, entry):
        for seed, nfe in itertools.product(row.seeds, row.nfes):
            skipped = row.skipped(nfe)
            yield Cell(
                DATASETS[problem.dataset].shown,
                row.teacher,
                entry.name,
                entry.label(),
                elsewhere.BUDGET,
                seed,
                nfe,
                None if skipped else row.score_task(seed, nfe),
                skipped,
                entry.rules(),
                row.problem.unmeasured,
                row.undefined,
            )


@dataclass(frozen=True)
class Row:
    """One method of the suite on one problem; what its cells share is made once."""

    problem: Problem
    entry: MethodEntry

    def cells(self) -> Iterator[Cell]:
        entry, problem, suite = self.entry, self.problem, self.problem.suite
        budgets = (entry.budgets or suite.budgets) if entry.spec.trains else [None]
        nfes = entry.nfe or suite.nfe
        missing = self._missing_to_train or problem.missing or entry.missing()
        teacher, variant, rules = suite.called(problem.teacher), entry.label(), entry.rules()
        for budget in budgets:
            amount = budget.label() if budget else UNTRAINED
            lacking = missing.detail if missing else self._lacking_memory(budget)
            skipped = {nfe: _skipped(lacking, entry.refusal(nfe)) for nfe in nfes}
            for seed, nfe in itertools.product(suite.seeds, nfes):
                yield Cell(
                    DATASETS[problem.dataset].shown,
                    teacher,
                    entry.name,
                    variant,
                    amount,
                    seed,
                    nfe,
                    None if skipped[nfe] else self._score_task(budget, seed, nfe),
                    skipped[nfe],
                    rules,
                    problem.unmeasured,
                    problem.undefined,
                )

    @cached_property
    def _source(self) -> Problem:
        """Where the method is trained: here, or where the entry says."""
        elsewhere, here = self.entry.fitted_on, self.problem
        return here if elsewhere is None else Problem(here.suite, elsewhere.dataset, elsewhere.teacher or here.teacher)

    @property
    def _missing_to_train(self) -> Missing | None:
        return self._source.missing_source(training_reads_data(self.entry)) if self.entry.spec.trains else None

    def _lacking_memory(self, budget: Budget | None) -> str | None:
        shape = DATASETS[self._source.dataset].shape
        return lacking_memory(self.entry, budget, shape) if budget else None

    @cached_property
    def _training(self) -> Training:
        return Training(self._source, self.entry)

    @cached_property
    def _options(self) -> dict[str, Any]:
        return self.entry.checked().model_dump(mode="json")

    @cached_property
    def _code(self) -> tuple[str, ...]:
        return (*self.problem.data_code, *method_code(self.entry.spec, *self.entry.trials()))

    def _score_task(self, budget: Budget | None, seed: int, nfe: int) -> Task:
        inputs = {**self.problem.told_by}
        if budget is not None:
            inputs["train"] = self._training.task(budget, seed, nfe)
        params = SampleParams(
            method=self.entry.name,
            options=self._options,
            seed=seed,
            nfe=nfe,
            samples=self.problem.samples,
            device=self.problem.suite.device,
            guidance=self.problem.guidance,
            labels=self.problem.labels,
            **self.problem.suite.computing,
            transfer=self.entry.fitted_on is not None,
            **self.problem.kept,
        )
        what = f"{self.problem.called(self.entry)} NFE {nfe} seed {seed}"
        sample = Task(params, inputs, self._code, float(nfe * self.problem.samples), f"sample {what}")
        return self.problem.score_task(sample, seed, what)


def _skipped(lacking: str | None, refusal: str | None) -> Status | None:
    """A refusal first: it is the suite's, whatever the machine has."""
    if refusal is not None:
        return Status(Kind.SKIPPED, refusal)
    return None if lacking is None else Status(Kind.LACKING, lacking)
