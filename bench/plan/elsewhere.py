"""Rows that were made elsewhere: from which network or images, at which NFE, and the tasks that measure them. No torch.

A `student` or `released` row brings its own network, which takes the place of the suite's teacher; `images` have none;
the `ground-truth` is the teacher's own.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...datasets.registry import DATASETS
from ...methods.specs.ground_truth import MEASURED, GroundTruthOptions
from ...methods.specs.images import ImagesOptions
from ...methods.specs.released import ReleasedOptions
from ...methods.specs.student import StudentRowOptions
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...reports.budgets import ELSEWHERE
from ...reports.status import Kind, Status
from ..errors import InputError
from ..metrics.register import METRICS
from ..suite import elsewhere
from ..suite.files import other_shape
from ..suite.pairs import alone
from ..suite.schema import MethodEntry, Suite
from . import checkpoints, images
from .code import method_code
from .kinds import ImagesParams, SampleParams
from .problem import Problem
from .references import reads_data
from .task import Task

BUDGET = ELSEWHERE[0]
NO_TRUTH = "compares with a teacher's exact solutions, and this row has no teacher here"
COMMAND = "fewstep list methods"


def places(suite: Suite, here: Sequence[Problem]) -> list[Problem]:
    """Where rows without a teacher of the suite's are planned: once for each data set and its references."""
    if not here:
        none = CheckpointOptions(file="none")
        return [Problem(suite, dataset, none, references) for dataset, references in alone(suite)]
    found: list[Problem] = []
    for problem in here:
        if all(_measured(problem) != _measured(other) for other in found):
            found.append(problem)
    return found


def _measured(problem: Problem) -> tuple[Any, ...]:
    """What rows with networks of their own are measured on and by."""
    return problem.dataset, problem.named, problem.samples


def rows(problem: Problem, entry: MethodEntry) -> Iterator["Row"]:
    """The entry's row on a data set, if it belongs there."""
    if problem.dataset in elsewhere.datasets_of(problem.suite, entry):
        options = entry.checked()
        if isinstance(options, ImagesOptions):
            yield ImagesRow(problem, entry, options)
        elif isinstance(options, GroundTruthOptions):
            yield TruthRow(problem, entry, options)
        elif isinstance(options, StudentRowOptions | ReleasedOptions):
            yield NetworkRow(problem, entry, options)


@dataclass(frozen=True)
class Row:
    """What the cells of such a row share."""

    suite_problem: Problem
    entry: MethodEntry
    options: Any

    @property
    def suite(self) -> Suite:
        return self.suite_problem.suite

    @property
    def seeds(self) -> Sequence[int]:
        return self.suite.seeds

    @property
    def nfes(self) -> Sequence[int]:
        return self.entry.nfe or self.suite.nfe

    @cached_property
    def problem(self) -> Problem:
        """What it is measured on, with the network that it is sampled from in the teacher's place."""
        return self.suite_problem

    @property
    def teacher(self) -> str:
        """What tables have in the teacher's place."""
        return self.suite.called(self.problem.teacher)

    @property
    def undefined(self) -> dict[str, str]:
        """The metrics that it cannot have."""
        truths = [name for name in self.suite.metrics if METRICS[name].against == "truth"]
        return {**self.problem.undefined, **({} if self.problem.truths else dict.fromkeys(truths, NO_TRUTH))}

    def skipped(self, nfe: int) -> Status | None:
        """A refusal first: it is the suite's, whatever the machine has."""
        if (refusal := self.entry.refusal(nfe)) is not None:
            return Status(Kind.SKIPPED, refusal)
        return self.lacking

    @cached_property
    def lacking(self) -> Status | None:
        missing = self.problem.missing
        return None if missing is None else Status(Kind.LACKING, missing.detail)

    def score_task(self, seed: int, nfe: int) -> Task:
        what = f"{self.problem.called(self.entry)} NFE {nfe or 'measured'} seed {seed}"
        params = SampleParams(
            method=self.entry.name,
            options=self.sampling,
            seed=seed,
            nfe=nfe,
            samples=self.suite_problem.samples,
            device=self.suite.device,
            guidance=self.problem.guidance,
            labels=self.problem.labels,
            **self.suite.computing,
            **self.problem.kept,
        )
        code = (*self.problem.data_code, *method_code(self.entry.spec, self.options))
        cost = float((nfe or 170) * self.suite_problem.samples)
        sample = Task(params, self.problem.told_by, code, cost, f"sample {what}")
        return self.problem.score_task(sample, seed, what)

    @property
    def sampling(self) -> dict[str, Any]:
        """The options that determine the samples."""
        dumped: dict[str, Any] = self.options.model_dump(mode="json")
        return dumped


class TruthRow(Row):
    """The exact solver's own samples."""

    @property
    def nfes(self) -> Sequence[int]:
        return (MEASURED,)

    @property
    def sampling(self) -> dict[str, Any]:
        tolerance = self.options.tolerance
        return {"tolerance": self.suite.truth.tolerance if tolerance is None else tolerance}


class NetworkRow(Row):
    """A network of its own, read as a teacher's is."""

    @cached_property
    def problem(self) -> Problem:
        return replace(self.suite_problem, teacher=elsewhere.network_of(self.options), truths=False)

    @cached_property
    def lacking(self) -> Status | None:
        teacher = self.problem.teacher
        file = teacher.file if isinstance(teacher, CheckpointOptions) else None
        if file is not None and checkpoints.meant(file) is None:
            return Status(Kind.LACKING, f"{file}: no such file, and no network is known by that name")
        return super().lacking

    @property
    def sampling(self) -> dict[str, Any]:
        # Where the network is read from is in the teacher's task, with its hash.
        dumped: dict[str, Any] = self.options.alone().model_dump(mode="json")
        return dumped


class ImagesRow(Row):
    """Images, which are the same for every seed."""

    @property
    def seeds(self) -> Sequence[int]:
        return self.suite.seeds[:1]

    @cached_property
    def problem(self) -> Problem:
        return replace(self.suite_problem, truths=False, pictured=True)

    @property
    def path(self) -> Path:
        return Path(self.options.source)

    @property
    def teacher(self) -> str:
        from ...datasets.own_images import called

        return called(self.path)

    @cached_property
    def lacking(self) -> Status | None:
        if not os.path.exists(self.path):
            return Status(Kind.LACKING, f"{self.path}: no such file or folder")
        reads = reads_data(self.suite.metrics, self.problem.named)
        missing = DATASETS[self.problem.dataset].missing() if reads else None
        return None if missing is None else Status(Kind.LACKING, missing.detail)

    def score_task(self, seed: int, nfe: int) -> Task:
        found = images.looked_at(self.path)
        if (reason := other_shape(found.shape, self.problem.dataset, self.suite.metrics)) is not None:
            raise InputError(f"{self.path}: {reason}")
        count = min(found.size, self.suite_problem.samples)
        # Images are read on the CPU, wherever the suite runs.
        params = ImagesParams(source=str(self.path.absolute()), content=found.content, samples=count, device="cpu")
        what = f"{self.problem.called(self.entry)}"
        sample = Task(params, {}, (), 20.0 * count, f"images {self.teacher}")
        return self.problem.score_task(sample, seed, what, self.options.rounding or self.suite.rounding)
