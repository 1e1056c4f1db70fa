"""A suite with everything made small that takes time, and nothing else changed. No torch."""

from typing import Any

from ...methods.options import Options
from ...methods.specs.teachers.pipeline import PipelineOptions
from ...methods.specs.teachers.pretrain import PretrainOptions
from ...reports.rehearsal import marked
from ..metrics.register import METRICS
from .pairs import teachers
from .schema import Budget, MethodEntry, ProblemEntry, Suite, Teacher, Truth

SAMPLES, LARGEST_NFE = 4, 50
FEWEST = 16
"""Samples at most where a metric needs more than SAMPLES. One that needs more still is not measured."""
TRUTH = Truth(samples=2, tolerance=1e-2)
BUDGETS = {
    "evaluations": 2000.0,
    "flops": 1e11,
    "images": 12.0,
    "seconds": 1.0,
    "teacher": 1e-4,
    "iterations": 3,
    "trajectories": 2,
    "batches": 1,
}
"""At most, by unit; of phases each has one iteration. It makes a few steps of the batches below."""
PIPELINE = {"evaluations": 300.0}
"""The same on text-to-image pipelines, whose small networks are not as small."""
PHASED = 12
"""Times as much for a row of many phases, of which each needs a step."""
PICTURE = 64
"""Sides in pixels of what a small pipeline makes."""
OPTIONS = {
    "batch": 2,
    "nodes": 5,
    "scale": 2,
    "substeps": 2,
    "trajectories": 4,
    "select_samples": 4,
    "accumulate": 1,
    "resolution": PICTURE,
}
"""At most, of the options that say how much is computed."""
FITTED = {**OPTIONS, "batch": 1}
"""The same of learned solvers, which follow each noise of a batch through all its steps, one lot after another."""
TOLERANCE = 1e-2
"""At least."""
TEACHER_IMAGES = 128
"""At most, for a teacher that the suite trains."""


def rehearsal(suite: Suite) -> Suite:
    """The suite of a rehearsal: the same problems, rows, options and refusals, on few samples, steps and seeds."""
    entries, samples = [_row(entry, suite) for entry in suite.methods], _samples(suite)
    cut = [_cut(before, after, suite) for before, after in zip(suite.methods, entries, strict=True)]
    said = "A rehearsal: networks, images and statistics are random and small, and no number means anything."
    changes: dict[str, Any] = {
        "name": marked(suite.name),
        "description": " ".join([said, *filter(None, cut), suite.description]).strip(),
        "methods": entries,
        "samples": min(suite.samples, samples),
        "truth": TRUTH,
        "seeds": suite.seeds[:1],
    }
    if suite.budgets:
        changes["budgets"] = _budgets(suite.budgets, _most(suite))
    if suite.teachers:
        changes["teachers"] = [_teacher(teacher) for teacher in suite.teachers]
    if suite.problems:
        changes["problems"] = [_problem(problem, samples) for problem in suite.problems]
    # Not checked again: the mark is in no legal name, so that no suite of a person's own can have it.
    return suite.model_copy(update=changes)


def _samples(suite: Suite) -> int:
    """As few as its metrics are defined for."""
    return max([SAMPLES, *(few for name in suite.metrics if (few := METRICS[name].fewest) <= FEWEST)])


def _problem(problem: ProblemEntry, most: int) -> ProblemEntry:
    samples = None if problem.samples is None else min(problem.samples, most)
    return problem.model_copy(update={"teacher": _teacher(problem.teacher), "samples": samples})


def _teacher(teacher: Teacher) -> Teacher:
    if isinstance(teacher, PipelineOptions) and teacher.resolution is not None:
        return teacher.model_copy(update={"resolution": min(teacher.resolution, PICTURE)})
    if not isinstance(teacher, PretrainOptions):
        return teacher
    return teacher.model_copy(update={"images": min(teacher.images, TEACHER_IMAGES)})


def _most(suite: Suite) -> dict[str, float]:
    """What a training run spends at most, by unit."""
    told = any(isinstance(teacher, PipelineOptions) for _, teacher in teachers(suite))
    return {**BUDGETS, **(PIPELINE if told else {})}


def _budgets(budgets: list[Budget], most: dict[str, float], times: int = 1) -> list[Budget]:
    """Each once: two of one unit may become the same."""
    small = [_budget(budget, most, times) for budget in budgets]
    return list({budget.label(): budget for budget in small}.values())


def _budget(budget: Budget, most: dict[str, float], times: int) -> Budget:
    if budget.phase_iterations is not None:
        return Budget(phase_iterations=(1,) * len(budget.phase_iterations))
    return Budget.model_validate({budget.unit: min(budget.amount, times * most[budget.unit])})


def _row(entry: MethodEntry, suite: Suite) -> MethodEntry:
    """Called as before: what stands beside a published row is found by its name."""
    changes: dict[str, Any] = {}
    if options := _options(entry.checked(), FITTED if entry.spec.kind == "learned solver" else OPTIONS):
        changes |= {"options": {**entry.options, **options}, "variant": entry.label()}
    many = _phases(entry.checked()) > BUDGETS["iterations"]
    if budgets := entry.budgets or (suite.budgets if many else None):
        changes["budgets"] = _budgets(budgets, _most(suite), PHASED if many else 1)
    if entry.fitted_on is not None and entry.fitted_on.teacher is not None:
        teacher = _teacher(entry.fitted_on.teacher)
        changes["fitted_on"] = entry.fitted_on.model_copy(update={"teacher": teacher})
    if not entry.spec.elsewhere and (nfes := _nfes(entry, suite)) != (entry.nfe or suite.nfe):
        changes["nfe"] = nfes
    return entry.model_copy(update=changes)


def _phases(checked: Options) -> int:
    """How many training is made of: named by their ends, or one for each halving of the steps."""
    if (start := getattr(checked, "start_steps", None)) is not None:
        return int(start).bit_length()
    return len(getattr(checked, "phases", ()))


def _options(checked: Options, most: dict[str, int]) -> dict[str, Any]:
    """Those that become small, of options given inside of others too."""
    found: dict[str, Any] = {}
    for name, largest in most.items():
        if isinstance(value := getattr(checked, name, None), int) and value > largest:
            found[name] = largest
    if isinstance(value := getattr(checked, "tolerance", None), float) and value < TOLERANCE:
        found["tolerance"] = TOLERANCE
    for name in checked.model_fields_set:
        if isinstance(value := getattr(checked, name), Options) and (inner := _options(value, most)):
            found[name] = {**value.model_dump(exclude_unset=True), **inner}
    return found


def _nfes(entry: MethodEntry, suite: Suite) -> list[int]:
    """Each once. What the row refuses stays, for it costs nothing."""
    return list(dict.fromkeys(_nfe(entry, nfe) for nfe in entry.nfe or suite.nfe))


def _nfe(entry: MethodEntry, nfe: int) -> int:
    if nfe <= LARGEST_NFE or entry.refusal(nfe) is not None:
        return nfe
    return next((less for less in range(LARGEST_NFE, 0, -1) if entry.refusal(less) is None), nfe)


def _cut(before: MethodEntry, after: MethodEntry, suite: Suite) -> str:
    """What is said of a row whose NFEs are others than in the suite."""
    if before.spec.elsewhere or after.nfe == before.nfe:
        return ""
    pairs = dict.fromkeys((nfe, _nfe(before, nfe)) for nfe in before.nfe or suite.nfe)
    changed = ", ".join(f"{small} for {nfe}" for nfe, small in pairs if small != nfe)
    return f"{before.name} has NFE {changed}."
