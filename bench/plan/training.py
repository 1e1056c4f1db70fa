"""The tasks that train one method of a suite on one problem, each made once. No torch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from ...methods.options import Options
from ...methods.registry import data_free
from ..suite.schema import Budget, MethodEntry
from ..suite.units import asked
from .code import method_code
from .kinds import Sharing, TeacherParams, TrainParams, TuneParams, trial_role
from .problem import Problem
from .task import Task

OVERHEAD = 1.3
"""Time of a training per evaluation that it is charged for, in evaluations: steps are more than their networks."""


@dataclass(frozen=True)
class Trial:
    """One choice of options, dumped, and the modules that it is computed by."""

    options: Options
    dumped: dict[str, Any]
    code: tuple[str, ...]


@dataclass(frozen=True)
class Training:
    """How a row's students are trained: `task` is the run for a budget, a seed and an NFE."""

    problem: Problem
    entry: MethodEntry

    def task(self, budget: Budget, seed: int, nfe: int) -> Task:
        """The run that makes the row's student, or the choice among the trials that share its budget."""
        return self._task(budget, seed, nfe if self.entry.spec.per_nfe else None)

    @cached_property
    def _task(self) -> Callable[[Budget, int, int | None], Task]:
        return cache(self._run if self.entry.tune is None else self._choice)

    @cached_property
    def _trials(self) -> list[Trial]:
        spec, code = self.entry.spec, self.problem.data_code
        return [
            Trial(options, options.model_dump(mode="json"), (*code, *method_code(spec, options)))
            for options in self.entry.trials()
        ]

    def _choice(self, budget: Budget, seed: int, nfe: int | None) -> Task:
        entry, problem, tune = self.entry, self.problem, self.entry.tune
        assert tune is not None
        looked_at = nfe or tune.nfe or (entry.nfe or problem.suite.nfe)[0]
        shared = Sharing(trials=len(tune.trials), samples=tune.samples, nfe=looked_at)
        params = TuneParams(
            seed=seed,
            budget=budget.given(),
            device=problem.suite.device,
            trials=shared.trials,
            samples=shared.samples,
            nfe=shared.nfe,
            guidance=problem.guidance,
            labels=problem.labels,
            **problem.suite.computing,
        )
        inputs = {**problem.told_by, "extractor": problem.extractor_task}
        for j, trial in enumerate(self._trials):
            inputs[trial_role(j)] = self._trained(trial, budget, seed, nfe, shared)
        label = f"choose {problem.called(entry)} seed {seed}, {budget.label()}, of {shared.trials}"
        code = (*problem.data_code, *method_code(entry.spec, *(trial.options for trial in self._trials)))
        return Task(params, inputs, code, 1_000.0 * shared.trials, label)

    @cached_property
    def _content(self) -> dict[str, str]:
        """What the teacher's task does not know of images that training reads."""
        given = self.problem.teacher_task.params
        assert isinstance(given, TeacherParams)
        return self.problem.content if given.content is None and not data_free(self.entry.spec) else {}

    def _run(self, budget: Budget, seed: int, nfe: int | None) -> Task:
        return self._trained(self._trials[0], budget, seed, nfe, None)

    def _trained(self, trial: Trial, budget: Budget, seed: int, nfe: int | None, shared: Sharing | None) -> Task:
        """One training run; `shared` says between how many trials the budget is divided, and what choosing takes."""
        entry, problem = self.entry, self.problem
        limit, options = asked(budget, trial.options, trial.dumped)
        params = TrainParams(
            method=entry.name,
            options=options,
            budget=limit,
            seed=seed,
            device=problem.suite.device,
            nfe=nfe,
            shared=shared,
            guidance=problem.guidance,
            labels=problem.labels,
            **problem.suite.computing,
            **self._content,
        )
        rate = {
            "evaluations": OVERHEAD,
            "images": 8.0,
            "flops": 0.0,
            "seconds": 6000.0,
            "teacher": problem.teacher_cost,
            "iterations": 8.0 * options.get("batch", 1),
        }
        ((unit, amount),) = limit.items()
        cost = amount * rate[unit] / (shared.trials if shared else 1)
        label = f"train {problem.called(entry)} seed {seed}, {budget.label()}" + ("" if nfe is None else f", NFE {nfe}")
        inputs = {**problem.told_by, **({} if data_free(entry.spec) else problem.latents)}
        if shared is not None or trial.options.needs_quality:
            inputs["extractor"] = problem.extractor_task
        return Task(params, inputs, trial.code, cost, label)
