"""What a schema cannot say of a suite: rules about methods, data sets, teachers and metrics together. No torch.

A rule yields a complaint, (location, message), for each mistake. RULES are in order: later ones may take for granted
what earlier ones check.
"""

from collections.abc import Callable, Iterator

from pydantic import ValidationError

from ...datasets.frozen import register as frozen
from ...datasets.registry import DATASETS
from ...methods import registry
from ...methods.specs.base import METHODS as METHODS_PACKAGE
from ...methods.specs.solver import Grid
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...methods.specs.teachers.pretrain import PretrainOptions, UNetOptions
from ...methods.specs.teachers.shipped import ShippedOptions
from .. import published_files
from ..metrics.register import METRICS, defined
from .document import Location, complaint
from .schema import MethodEntry, Suite, Teacher

Complaint = tuple[Location, str]
Rule = Callable[[Suite], Iterator[Complaint]]


def methods_are_known(suite: Suite) -> Iterator[Complaint]:
    for where, entry in _entries(suite):
        try:
            registry.method(entry.name)
        except registry.UnknownNameError as error:
            yield (*where, "name"), str(error)


def options_are_theirs(suite: Suite) -> Iterator[Complaint]:
    for where, entry in _entries(suite):
        try:
            entry.checked()
        except ValidationError as error:
            yield complaint((*where, "options"), error, entry.spec.options)


def only_learned_solvers_are_fitted_elsewhere(suite: Suite) -> Iterator[Complaint]:
    for where, entry in _entries(suite):
        if entry.fitted_on is None:
            continue
        if not entry.spec.transfers:
            message = f"{entry.name} is not a learned solver; only these are fitted elsewhere"
            yield (*where, "fitted_on"), message
        try:
            DATASETS.pick(entry.fitted_on.dataset)
        except registry.UnknownNameError as error:
            yield (*where, "fitted_on", "dataset"), str(error)


def trials_can_share_a_budget(suite: Suite) -> Iterator[Complaint]:
    for where, entry in _entries(suite):
        if entry.tune is None:
            continue
        place = (*where, "tune")
        if not entry.spec.trains:
            yield place, f"{entry.name} is not trained: there is nothing to share a budget"
        if entry.fitted_on is not None:
            yield place, "a row fitted elsewhere is not tuned; leave out tune or fitted_on"
        for j, trial in enumerate(entry.tune.trials):
            try:
                entry.spec.options.model_validate({**entry.options, **trial})
            except ValidationError as error:
                yield complaint((*place, "trials", j), error, entry.spec.options)
        for budget in entry.budgets or suite.budgets:
            if budget.unit not in ("evaluations", "flops", "teacher"):
                message = f"trials share a budget that is measured in FLOPs, not in {budget.unit}"
                yield place, f"{message}; give it in evaluations"


def tuned_students_can_be_evaluated(suite: Suite) -> Iterator[Complaint]:
    for where, entry in _entries(suite):
        if entry.tune is None:
            continue
        if entry.spec.per_nfe:
            if entry.tune.nfe is not None:
                message = f"{entry.name} is trained, and chosen, per NFE; leave it out"
                yield (*where, "tune", "nfe"), message
        elif (reason := entry.refusal(nfe := entry.tune.nfe or (entry.nfe or suite.nfe)[0])) is not None:
            yield (*where, "tune"), f"{entry.name} cannot be evaluated at NFE {nfe}: {reason}; set nfe"


def formulas_have_no_network_to_train(suite: Suite) -> Iterator[Complaint]:
    formulas = [teacher.name for teacher in suite.teachers if not registry.TEACHERS[teacher.name].network]
    for where, entry in _entries(suite):
        if formulas and entry.spec.needs_network:
            message = f"{entry.name} trains a copy of the teacher's network, and teacher {formulas[0]!r} is a formula"
            yield (*where, "name"), message + "; use a pretrain teacher"


def shares_of_the_teachers_training_are_known(suite: Suite) -> Iterator[Complaint]:
    trained = (PretrainOptions, ShippedOptions)
    untrained = [teacher.name for teacher in suite.teachers if not isinstance(teacher, trained)]
    for where, entry in _entries(suite):
        budgets = (entry.budgets or suite.budgets) if entry.spec.trains else []
        if untrained and any(budget.unit == "teacher" for budget in budgets):
            message = f"a budget in shares of the teacher's training, and the suite does not train {untrained[0]!r}"
            yield (*where, "name"), f"{entry.name}: {message}; give it in evaluations"


def labels_are_taken_where_teachers_need_them(suite: Suite) -> Iterator[Complaint]:
    conditional = [teacher for teacher in suite.teachers if teacher.conditional]
    for where, entry in _entries(suite):
        if conditional and entry.spec.trains and not entry.spec.conditional:
            message = f"{entry.name} trains without labels, and teacher {conditional[0].shown()} needs them"
            yield (*where, "name"), message + "; leave one of the two out"


def rows_are_told_apart(suite: Suite) -> Iterator[Complaint]:
    """Rows of a table by method and variant, tables by teacher: a name twice would hide a result."""
    rows = [(entry.name, entry.label()) for entry in suite.methods]
    for i, row in enumerate(rows):
        if row in rows[:i]:
            message = f"{row[0]} appears twice with the same options; give one of them a variant"
            yield ("methods", i, "name"), message
    labels = [teacher.shown() for teacher in suite.teachers]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            yield ("teachers", i), f"{label!r} appears twice; give one of them a label"


def datasets_are_known(suite: Suite) -> Iterator[Complaint]:
    for i, name in enumerate(suite.datasets):
        try:
            DATASETS.pick(name)
        except registry.UnknownNameError as error:
            yield ("datasets", i), str(error)


def datasets_have_the_metrics(suite: Suite) -> Iterator[Complaint]:
    for name in suite.datasets:
        spec = DATASETS[name]
        for j, metric in enumerate(suite.metrics):
            if metric not in METRICS:
                yield ("metrics", j), f"unknown metric {metric!r}{registry.did_you_mean(metric, METRICS)}"
            elif metric not in (known := defined(spec.metrics, spec.quality)):
                yield ("metrics", j), f"{metric} is not defined on {name}, which has {', '.join(known)}"
        for where, entry in _entries(suite):
            if (entry.tune or entry.checked().needs_quality) and not spec.quality:
                message = f"{entry.name} with these options selects by a Fréchet distance, which {name} does not have"
                yield (*where, "options"), message


def teachers_fit_the_datasets(suite: Suite) -> Iterator[Complaint]:
    for name in suite.datasets:
        spec = DATASETS[name]
        images = len(spec.shape) == 3
        for k, teacher in enumerate(suite.teachers):
            network = getattr(teacher, "network", None)
            if network is not None and (network.name == "unet") != images:
                message = f"a {network.name} does not fit {name}, whose samples have shape {spec.shape}"
                yield ("teachers", k, "network"), message
            levels = len(network.multipliers) if isinstance(network, UNetOptions) else 1
            if images and spec.shape[-1] % 2 ** (levels - 1):
                message = f"{levels} levels halve the resolution {levels - 1} times, and {name}'s images have side "
                yield ("teachers", k, "network", "multipliers"), f"{message}{spec.shape[-1]}; leave some out"
            if isinstance(teacher, CheckpointOptions) and not images:
                message = f"its network is one of images, and {name}'s samples have shape {spec.shape}"
                yield ("teachers", k, "file"), message
            if teacher.conditional and not spec.classes:
                place = ("label_dropout",) if isinstance(teacher, PretrainOptions) else ()
                yield ("teachers", k, *place), f"{name} has no labels, and {teacher.shown()} needs them; leave it out"


def grids_of_labels_have_a_discrete_path(suite: Suite) -> Iterator[Complaint]:
    """Of the teachers that fewstep has none is on a discrete path; a plug-in's may be."""
    built_in = all(registry.TEACHERS[teacher.name].target.startswith(METHODS_PACKAGE) for teacher in suite.teachers)
    for where, entry in _entries(suite):
        grid = getattr(entry.checked(), "grid", None)
        if built_in and isinstance(grid, Grid) and grid.spacing.startswith("ddim-"):
            message = f"{grid.spacing} is a grid of the labels of a discrete path, which no teacher of this suite has"
            yield (*where, "options", "grid", "spacing"), f"{message}; use uniform, quadratic, log-snr or karras"


def references_are_published_moments(suite: Suite) -> Iterator[Complaint]:
    for metric, file in suite.references.items():
        where = ("references", metric)
        if metric not in suite.metrics:
            yield where, f"{metric} is not among the suite's metrics"
        elif not METRICS[metric].takes_statistics:
            yield where, f"{metric} does not compare with published moments; leave it out"
        elif published_files.meant(file, published_files.STATISTICS_FOLDER) is None:
            known = published_files.known_names(published_files.STATISTICS_FOLDER)
            message = f"no file {file}, and no known statistics of that name"
            yield where, message + registry.did_you_mean(file, known)


def checkpoints_are_files(suite: Suite) -> Iterator[Complaint]:
    for k, teacher in enumerate(suite.teachers):
        if not isinstance(teacher, CheckpointOptions):
            continue
        if published_files.meant(teacher.file, published_files.CHECKPOINTS) is None:
            near = registry.did_you_mean(teacher.file, published_files.known_names(published_files.CHECKPOINTS))
            yield ("teachers", k, "file"), f"no file {teacher.file}, and no known network of that name{near}"


def shipped_teachers_are_known(suite: Suite) -> Iterator[Complaint]:
    """By name and data set, those that learned solvers are fitted on as well."""
    used: list[tuple[Location, Teacher, str]] = [
        (("teachers", k, "file"), teacher, dataset)
        for k, teacher in enumerate(suite.teachers)
        for dataset in suite.datasets
    ]
    for where, entry in _entries(suite):
        if entry.fitted_on is not None:
            elsewhere = [entry.fitted_on.teacher] if entry.fitted_on.teacher else suite.teachers
            used += [((*where, "fitted_on", "teacher", "file"), t, entry.fitted_on.dataset) for t in elsewhere]
    for place, teacher, dataset in used:
        if not isinstance(teacher, ShippedOptions):
            continue
        if teacher.file not in frozen.teachers():
            near = registry.did_you_mean(teacher.file, frozen.teachers())
            yield place, f"no teacher {teacher.file!r} is shipped{near}"
        elif (own := frozen.NETWORKS[teacher.file].dataset) != dataset:
            yield place, f"{teacher.file} was trained on {own}, not on {dataset}"


def _entries(suite: Suite) -> Iterator[tuple[Location, MethodEntry]]:
    return ((("methods", i), entry) for i, entry in enumerate(suite.methods))


RULES: tuple[Rule, ...] = (
    methods_are_known,
    options_are_theirs,
    only_learned_solvers_are_fitted_elsewhere,
    trials_can_share_a_budget,
    tuned_students_can_be_evaluated,
    formulas_have_no_network_to_train,
    shares_of_the_teachers_training_are_known,
    labels_are_taken_where_teachers_need_them,
    rows_are_told_apart,
    datasets_are_known,
    datasets_have_the_metrics,
    teachers_fit_the_datasets,
    grids_of_labels_have_a_discrete_path,
    references_are_published_moments,
    checkpoints_are_files,
    shipped_teachers_are_known,
)
