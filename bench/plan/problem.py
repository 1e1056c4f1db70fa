"""What every method of a suite is run on, and the tasks that all cells of a problem share. No torch."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Literal

from ...datasets.registry import DATASETS
from ...methods.missing import Missing
from ...methods.registry import TEACHERS
from ...methods.specs.teachers.pipeline import PipelineOptions
from ...methods.specs.teachers.pretrain import PretrainOptions
from ..metrics.extractors import EXTRACTORS
from ..metrics.metric import LAW, LPIPS, OWN, PIXELS
from ..metrics.register import METRICS
from ..suite.pairs import pairs
from ..suite.schema import MethodEntry, Suite, Teacher
from . import frozen, pipelines
from .captions import told, undefined
from .checkpoints import checkpoint, missing_checkpoint
from .kinds import CODEC, LATENTS, PROMPTS, TEACHER, ScoreParams, TeacherParams, TruthParams, reference_role
from .needs import takes_labels, teacher_reads_data, training_reads_data
from .references import (
    data_code,
    extractor_task,
    identity,
    lacking,
    named_rows,
    needs_own,
    published,
    reads_data,
    reference_task,
    rows_task,
)
from .task import Task


@dataclass(frozen=True)
class Problem:
    """One data set with one teacher: what every method of the suite is run on.

    named: metric -> the published statistics, or rows, that it is compared with. truths: whether its rows are compared
    with the teacher's exact solutions. pictured: rows of images, which are taken to be made of the captions in order.
    """

    suite: Suite
    dataset: str
    teacher: Teacher
    named: Mapping[str, str] = field(default_factory=dict)
    truths: bool = True
    pictured: bool = False

    @cached_property
    def missing(self) -> Missing | None:
        """What a row without training lacks here; None if nothing."""
        return self.missing_source(self._reads_data or self._scoring_reads_data)

    @cached_property
    def _scoring_reads_data(self) -> bool:
        return reads_data([name for name in self.suite.metrics if name not in self.undefined], self.named)

    def missing_source(self, images: bool) -> Missing | None:
        """What of the teacher, and of the images where they are read, is missing."""
        absent = DATASETS[self.dataset].missing() if images or self._reads_data else None
        return absent or missing_checkpoint(self.teacher) or self.teacher.missing()

    @cached_property
    def _reads_data(self) -> bool:
        return teacher_reads_data(self.teacher, self.dataset, self.suite.labels)

    @cached_property
    def labels(self) -> Literal["uniform"] | None:
        """What the tasks after the teacher's know of how its labels are drawn; None in the data set's proportions."""
        drawn = self.suite.labels == "uniform" and takes_labels(self.teacher, self.dataset)
        return "uniform" if drawn else None

    def images_read(self) -> list[str]:
        """The data sets whose images or labels some row reads: this one, or one that learned solvers are fitted on."""
        found = [self.dataset] if self._reads_data or self._scoring_reads_data else []
        for entry in self.suite.methods:
            source = entry.fitted_on.dataset if entry.fitted_on is not None else self.dataset
            teacher = (entry.fitted_on.teacher if entry.fitted_on is not None else None) or self.teacher
            if training_reads_data(entry) or (
                entry.spec.trains and teacher_reads_data(teacher, source, self.suite.labels)
            ):
                found.append(source)
        return list(dict.fromkeys(found))

    @cached_property
    def content(self) -> dict[str, str]:
        """What a task that reads the images knows of them."""
        return identity(self.dataset)

    @cached_property
    def data_code(self) -> tuple[str, ...]:
        return data_code(self.dataset)

    @property
    def guidance(self) -> float | None:
        """What the tasks after the teacher's know of guidance: the weights are trained once for all its scales."""
        scale: float | None = getattr(self.teacher, "guidance", None)
        return scale

    @cached_property
    def teacher_task(self) -> Task:
        guided, spec = self.guidance is not None, DATASETS[self.dataset]
        trained = self.teacher.model_copy(update={"guidance": None}) if guided else self.teacher
        params = TeacherParams(
            dataset=self.dataset,
            teacher=trained.model_dump(mode="json", exclude={"guidance", "label", *self._of_prompts}),
            device=self.suite.device,
            **(self.content if self._reads_data else {}),
            role=None if self.truths else "student",
            **checkpoint(trained, spec.shape, student=not self.truths, classes=spec.classes),
            identity=trained.identity() or None,
            **frozen.identity(frozen.teacher(trained)),
        )
        prompts = pipelines.prompts_task(self.teacher, self.dataset, self.suite.device)
        inputs = {} if prompts is None else {PROMPTS: prompts}
        cost = 4.0 * self.teacher.images if isinstance(self.teacher, PretrainOptions) else 0.0
        code = (*self.data_code, TEACHERS[trained.name].module, type(trained).__module__)
        return Task(params, inputs, code, cost, f"teacher {trained.shown()} on {self.dataset}")

    @property
    def _of_prompts(self) -> frozenset[str]:
        return pipelines.ELSEWHERE if isinstance(self.teacher, PipelineOptions) else frozenset()

    @cached_property
    def told_by(self) -> dict[str, Task]:
        """What makes the denoiser: the teacher and, where it is told prompts, their table."""
        return {TEACHER: self.teacher_task, **self.teacher_task.inputs}

    @cached_property
    def latents(self) -> dict[str, Task]:
        """The data set's images as a latent teacher's students train on them; empty where these are the images."""
        task = pipelines.latents_task(self.teacher, self.teacher_task, self.dataset, self.suite.device)
        return {} if task is None else {LATENTS: task}

    @cached_property
    def teacher_cost(self) -> float:
        """What training the teacher takes, in its own evaluations; roughly, for one that is not shipped."""
        shipped = frozen.teacher(self.teacher)
        return frozen.training(shipped) if shipped else 4.0 * getattr(self.teacher, "images", 0)

    @cached_property
    def extractor_task(self) -> Task:
        return extractor_task(self.dataset, self.suite.device, self.suite.classifier)

    @cached_property
    def references(self) -> dict[str, dict[str, str]]:
        return published(self.named)

    @cached_property
    def undefined(self) -> dict[str, str]:
        """The metrics that its rows cannot have, and why."""
        return undefined(self.suite.metrics, self.pictured or told(self.teacher, self.dataset))

    @cached_property
    def unmeasured(self) -> dict[str, Missing]:
        """The metrics that this machine lacks something for: what, and how to get it."""
        return lacking(self.suite.metrics, self.named)

    @cached_property
    def truth_task(self) -> Callable[[int], Task]:
        """By the seed."""
        return cache(self._truth_task)

    def _truth_task(self, seed: int) -> Task:
        samples = min(self.suite.truth.samples, self.suite.samples)
        params = TruthParams(
            seed=seed,
            samples=samples,
            tolerance=self.suite.truth.tolerance,
            device=self.suite.device,
            guidance=self.guidance,
            labels=self.labels,
        )
        cost = 170.0 * samples * (1 if self.guidance is None else 2)
        return Task(params, self.told_by, self.data_code, cost, f"truth{self._place} seed {seed}")

    def called(self, entry: MethodEntry) -> str:
        """A row as progress shows it: options, data set and teacher only where several would look alike."""
        return entry.name + (f" [{entry.label()}]" if entry.name in self._repeated else "") + self._place

    @cached_property
    def _repeated(self) -> set[str]:
        counts = Counter(entry.name for entry in self.suite.methods)
        return {name for name, count in counts.items() if count > 1}

    @cached_property
    def _place(self) -> str:
        several = len(pairs(self.suite)) > 1
        return f" on {DATASETS[self.dataset].shown} {self.teacher.shown()}" if several else ""

    def score_task(self, sample: Task, seed: int, what: str, rounding: str | None = None) -> Task:
        """The score of a cell's samples by the metrics that can be had here; rounding: theirs, if not the suite's."""
        inputs = {"sample": sample}
        if isinstance(self.teacher, PipelineOptions) and not self.pictured:
            inputs[CODEC] = self.teacher_task
        for name in self._features:
            inputs |= {"truth": self.truth_task(seed)} if name in (PIXELS, LPIPS) else self._compared.get(name, {})
        params = self._score_params
        if rounding is not None:
            params = params.model_copy(update={"rounding": rounding})
        return Task(params, inputs, self._score_code, 1_500.0, f"score {what}")

    @cached_property
    def _metrics(self) -> list[str]:
        there = [name for name in self.suite.metrics if name not in self.unmeasured and name not in self.undefined]
        return [name for name in there if self.truths or METRICS[name].against != "truth"]

    @property
    def _looks_at_captions(self) -> bool:
        return any(METRICS[name].captioned for name in self._metrics)

    @cached_property
    def _features(self) -> list[str]:
        """What the metrics look at."""
        return list(dict.fromkeys(METRICS[metric].features for metric in self._metrics))

    @property
    def _published(self) -> list[str]:
        """The published networks among the features."""
        return [name for name in self._features if name not in (PIXELS, LPIPS, LAW, *OWN)]

    @cached_property
    def _compared(self) -> dict[str, dict[str, Task]]:
        """By feature network, the task that has its features of the data; none where published statistics suffice."""
        found = {name: {"extractor": self.extractor_task} for name in OWN if name in self._features}
        for name in self._published:
            metrics = [m for m in self._metrics if METRICS[m].features == name and not METRICS[m].captioned]
            task = None
            if (file := named_rows(metrics, self.named)) is not None:
                task = rows_task(file, name, self.suite.device)
            elif needs_own(metrics, self.named):
                task = reference_task(self.dataset, name, self.suite.device)
            found[name] = {} if task is None else {reference_role(name): task}
        return found

    @cached_property
    def _score_code(self) -> tuple[str, ...]:
        return (*self.data_code, *dict.fromkeys(METRICS[name].module for name in self._metrics))

    @cached_property
    def _score_params(self) -> ScoreParams:
        return ScoreParams(
            metrics=sorted(self._metrics),
            device=self.suite.device,
            rounding=self.suite.rounding,
            references={name: self.references[name] for name in self._metrics if name in self.references},
            extractors={name: EXTRACTORS[name].protocol() for name in self._published},
            law=self.dataset if LAW in self._features else None,
            compared_at=DATASETS[self.dataset].shape[-1] if isinstance(self.teacher, PipelineOptions) else None,
            captions={"dataset": self.dataset, **self.content} if self._looks_at_captions else None,
        )


def problems(suite: Suite) -> list[Problem]:
    """What the suite's methods are run on, in its order."""
    return [Problem(suite, pair.dataset, pair.teacher, pair.references) for pair in pairs(suite)]
