"""What a schema cannot say of a suite: rules about methods, data sets, teachers and metrics together. No torch.

A rule yields a complaint for each mistake; those about fields that do not fit, and about what appears twice, are in
fits and repeats.
"""

import os
from collections.abc import Iterator

from pydantic import ValidationError

from ...datasets.frozen import register as frozen
from ...datasets.registry import DATASETS
from ...methods import registry
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...methods.specs.teachers.pretrain import PretrainOptions
from ...methods.specs.teachers.shipped import ShippedOptions
from .. import published_files
from ..metrics.metric import LAW, OWN
from ..metrics.register import METRICS, defined
from . import claimed, classifiers, elsewhere, fits, listed_levels, papers, pipelines, published, repeats
from .document import Location, complaints
from .fits import Complaint, Rule, entries, places
from .networks import told
from .pairs import Pair, datasets, pairs, references, teachers
from .schema import Suite


def problems_are_given_once(suite: Suite) -> Iterator[Complaint]:
    """Listed, or as a product."""
    for key in ("datasets", "teachers"):
        if suite.problems and getattr(suite, key):
            yield (key,), f"a suite has problems, or datasets and teachers, which it combines; leave {key} out"
        elif not suite.problems and not getattr(suite, key) and not (key == "teachers" and elsewhere.alone(suite)):
            yield (), f"{key!r} is missing; give datasets and teachers, or problems: a list of {{dataset, teacher}}"


def methods_are_known(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
        try:
            registry.method(entry.name)
        except registry.UnknownNameError as error:
            yield (*where, "name"), str(error)


def trained_methods_have_a_budget(suite: Suite) -> Iterator[Complaint]:
    for _, entry in entries(suite):
        if entry.spec.trains and not (entry.budgets or suite.budgets):
            yield (), f"'budgets' is missing: {entry.name} is trained; such as budgets: {{evaluations: 100000}}"


def options_are_theirs(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
        try:
            entry.checked()
        except ValidationError as error:
            yield from complaints((*where, "options"), error, entry.spec.options)


def only_learned_solvers_are_fitted_elsewhere(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
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
    for where, entry in entries(suite):
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
                yield from complaints((*place, "trials", j), error, entry.spec.options)
        for budget in entry.budgets or suite.budgets:
            if budget.unit not in ("evaluations", "flops", "teacher"):
                message = f"trials share a budget that is measured in FLOPs, not in {budget.unit}"
                yield place, f"{message}; give it in evaluations"


def tuned_students_can_be_evaluated(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
        if entry.tune is None:
            continue
        if entry.spec.per_nfe:
            if entry.tune.nfe is not None:
                message = f"{entry.name} is trained, and chosen, per NFE; leave it out"
                yield (*where, "tune", "nfe"), message
        elif (reason := entry.refusal(nfe := entry.tune.nfe or (entry.nfe or suite.nfe)[0])) is not None:
            yield (*where, "tune"), f"{entry.name} cannot be evaluated at NFE {nfe}: {reason}; set nfe"


def shares_of_the_teachers_training_are_known(suite: Suite) -> Iterator[Complaint]:
    trained = (PretrainOptions, ShippedOptions)
    untrained = [teacher.name for _, teacher in teachers(suite) if not isinstance(teacher, trained)]
    for where, entry in entries(suite):
        budgets = (entry.budgets or suite.budgets) if entry.spec.trains else []
        if untrained and any(budget.unit == "teacher" for budget in budgets):
            message = f"a budget in shares of the teacher's training, and the suite does not train {untrained[0]!r}"
            yield (*where, "name"), f"{entry.name}: {message}; give it in evaluations"


def labels_are_taken_where_teachers_need_them(suite: Suite) -> Iterator[Complaint]:
    conditional = [teacher for _, teacher in teachers(suite) if told(teacher)]
    for where, entry in entries(suite):
        if conditional and entry.spec.trains and not entry.spec.conditional:
            message = f"{entry.name} trains without labels, and teacher {conditional[0].shown()} needs them"
            yield (*where, "name"), message + "; leave one of the two out"


def nothing_trains_in_fp16(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite) if suite.precision == "fp16" else ():
        if entry.spec.trains:
            yield (*where, "name"), f"{entry.name} is trained, and small gradients are 0 in fp16; set precision: bf16"


def datasets_are_known(suite: Suite) -> Iterator[Complaint]:
    for place, name in datasets(suite):
        try:
            DATASETS.pick(name)
        except registry.UnknownNameError as error:
            yield place, str(error)


def datasets_have_the_metrics(suite: Suite) -> Iterator[Complaint]:
    for name in dict.fromkeys(name for _, name in datasets(suite)):
        spec = DATASETS[name]
        for j, metric in enumerate(suite.metrics):
            if metric not in METRICS:
                yield ("metrics", j), f"unknown metric {metric!r}{registry.did_you_mean(metric, METRICS)}"
            elif metric not in (known := defined(spec.groups, spec.quality)):
                yield ("metrics", j), f"{metric} is not defined on {name}, which has {', '.join(known)}"
        for where, entry in entries(suite):
            if (entry.tune or entry.checked().needs_quality) and not spec.quality:
                message = f"{entry.name} with these options selects by a Fréchet distance, which {name} does not have"
                yield (*where, "options"), message


def labels_are_there_for_teachers_that_need_them(suite: Suite) -> Iterator[Complaint]:
    for place, teacher, name in places(suite):
        if teacher.conditional and not DATASETS[name].classes:
            key = ("label_dropout",) if isinstance(teacher, PretrainOptions) else ()
            yield (*place, *key), f"{name} has no labels, and {teacher.shown()} needs them; leave it out"


def references_are_published(suite: Suite) -> Iterator[Complaint]:
    """Moments, or the images beside them in place of the data set's own (ADM's VIRTUAL_*.npz)."""
    for where, metric, file in references(suite):
        if metric not in suite.metrics:
            yield where, f"{metric} is not among the suite's metrics"
        elif metric not in METRICS:
            continue
        elif METRICS[metric].against not in ("moments", "rows") or METRICS[metric].features in (*OWN, LAW):
            yield where, f"{metric} does not compare with published statistics; leave it out"
        elif published_files.meant(file, published_files.STATISTICS_FOLDER) is None:
            known = published_files.known_names(published_files.STATISTICS_FOLDER)
            message = f"no file {file}, and no known statistics of that name"
            yield where, message + registry.did_you_mean(file, known)


def rows_of_one_network_have_one_reference(suite: Suite) -> Iterator[Complaint]:
    """The features of the images of one file stand in for those of the data set."""
    for pair in pairs(suite):
        named = {m: file for m, file in pair.references.items() if m in METRICS and METRICS[m].against == "rows"}
        for metric, file in named.items():
            features = METRICS[metric].features
            beside = (m for m in suite.metrics if m in METRICS and METRICS[m].features == features)
            for other in beside:
                of_rows = METRICS[other].against == "rows"
                if (of_rows and named.get(other) != file) or (
                    METRICS[other].against == "moments" and other not in pair.references
                ):
                    message = f"{metric} is compared with {file}, and {other} with the data set's images"
                    yield _references_at(suite, pair, metric), f"{message}; name a reference for {other} too"


def _references_at(suite: Suite, pair: Pair, metric: str) -> Location:
    at = pair.dataset_at[:-1]
    own = suite.problems and metric in suite.problems[int(at[1])].references
    return (*at, "references", metric) if own else ("references", metric)


def checkpoints_are_files(suite: Suite) -> Iterator[Complaint]:
    for place, teacher in teachers(suite):
        if not isinstance(teacher, CheckpointOptions):
            continue
        # A folder of diffusers is as good as a file.
        folder = os.path.isdir(teacher.file)
        if not folder and published_files.meant(teacher.file, published_files.CHECKPOINTS) is None:
            near = registry.did_you_mean(teacher.file, published_files.known_names(published_files.CHECKPOINTS))
            yield (*place, "file"), f"no file {teacher.file}, and no known network of that name{near}"


def shipped_teachers_are_known(suite: Suite) -> Iterator[Complaint]:
    """By name and data set, those that learned solvers are fitted on as well."""
    for place, teacher, dataset in places(suite):
        if not isinstance(teacher, ShippedOptions):
            continue
        if teacher.file not in frozen.teachers():
            near = registry.did_you_mean(teacher.file, frozen.teachers())
            yield (*place, "file"), f"no teacher {teacher.file!r} is shipped{near}"
        elif (own := frozen.NETWORKS[teacher.file].dataset) != dataset:
            yield (*place, "file"), f"{teacher.file} was trained on {own}, not on {dataset}"
        elif teacher.guidance is not None and not told(teacher):
            yield (*place, "guidance"), f"{teacher.file} knows no labels and no captions to be guided by; leave it out"


RULES: tuple[Rule, ...] = (
    problems_are_given_once,
    methods_are_known,
    trained_methods_have_a_budget,
    options_are_theirs,
    datasets_are_known,
    elsewhere.rows_made_elsewhere_are_whole,
    shipped_teachers_are_known,
    fits.the_grid_has_an_end,
    only_learned_solvers_are_fitted_elsewhere,
    trials_can_share_a_budget,
    repeats.entries_differ,
    tuned_students_can_be_evaluated,
    fits.formulas_have_no_network_to_train,
    shares_of_the_teachers_training_are_known,
    nothing_trains_in_fp16,
    labels_are_taken_where_teachers_need_them,
    repeats.rows_are_told_apart,
    repeats.problems_are_told_apart,
    datasets_have_the_metrics,
    fits.networks_fit_the_images,
    labels_are_there_for_teachers_that_need_them,
    references_are_published,
    rows_of_one_network_have_one_reference,
    checkpoints_are_files,
    fits.grids_are_on_the_teachers_path,
    fits.levels_are_drawn_where_the_teacher_is,
    listed_levels.given_levels_are_the_teachers,
    fits.lpips_compares_images,
    fits.learned_solvers_move_along_one_path,
    fits.budgets_are_in_units_of_the_method,
    fits.budgets_buy_a_step,
    published.networks_are_of_the_data,
    published.learned_variances_are_there,
    published.labels_suffice,
    published.rows_reach_an_nfe,
    classifiers.classifiers_fit,
    classifiers.labels_can_be_learned,
    pipelines.pipelines_are_told_captions,
    pipelines.released_pipelines_are_told_captions,
    *claimed.RULES,
    *papers.RULES,
)

PRESUPPOSED = (
    methods_are_known,
    options_are_theirs,
    datasets_are_known,
    elsewhere.rows_made_elsewhere_are_whole,
    shipped_teachers_are_known,
    only_learned_solvers_are_fitted_elsewhere,
    trials_can_share_a_budget,
)
"""Those that the rules after them take for granted."""
