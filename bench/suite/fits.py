"""Rules about fields that do not fit each other: grids and teachers' paths, networks and data, budgets and batches.

Each would be found by the task itself, after what comes before it has been trained. No torch.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from ...datasets import frozen
from ...datasets.registry import DATASETS
from ...methods import registry
from ...methods.options import Options
from ...methods.specs.solver import Grid, SolverOptions
from ...methods.specs.teachers.checkpoint import CheckpointOptions
from ...methods.specs.teachers.exact import ExactOptions
from ...methods.specs.teachers.pretrain import PretrainOptions, UNetOptions
from ...methods.specs.teachers.shipped import ShippedOptions
from . import units
from .document import Location
from .networks import network
from .pairs import datasets, pairs, teachers
from .schema import MethodEntry, Suite, Teacher

Complaint = tuple[Location, str] | tuple[Location, str, Location]
"""Where, what is wrong, and the place of what is repeated there, if something is."""
Rule = Callable[[Suite], Iterator[Complaint]]

EDM_TEACHERS = (CheckpointOptions, ExactOptions, PretrainOptions, ShippedOptions)
"""Those whose path is EDM's, on which no label is a time."""
CONTINUOUS = ("edm", "score-sde", "torchcfm", "flax-pd")
"""Forms of networks that were trained on no labels of a discrete path."""
FLOW = "torchcfm"
"""The form of networks that were trained on a flow."""
TAIL = 6.0
"""Standard deviations beyond which a normal law has nothing to draw."""
MOST_CELLS = 1_000_000


def entries(suite: Suite) -> Iterator[tuple[Location, MethodEntry]]:
    return ((("methods", i), entry) for i, entry in enumerate(suite.methods))


def places(suite: Suite) -> Iterator[tuple[Location, Teacher, str]]:
    """Every teacher with every data set that it meets, those that learned solvers are fitted on as well."""
    for pair in pairs(suite):
        yield pair.teacher_at, pair.teacher, pair.dataset
    for where, entry in entries(suite):
        if (elsewhere := entry.fitted_on) is not None:
            own = [elsewhere.teacher] if elsewhere.teacher else []
            yield from (((*where, "fitted_on", "teacher"), teacher, elsewhere.dataset) for teacher in own)
            shared = [] if elsewhere.teacher else [teacher for _, teacher in teachers(suite)]
            yield from (((*where, "fitted_on", "dataset"), teacher, elsewhere.dataset) for teacher in shared)


def levels(teacher: Teacher) -> tuple[float, float] | None:
    """The smallest and the largest noise level of a teacher; None where they are not known before it is there."""
    if isinstance(teacher, ShippedOptions):
        if not frozen.path(teacher.file).is_file():
            return None
        return PretrainOptions.model_validate_json(frozen.facts(teacher.file)["options"]).levels()
    return teacher.levels()


def the_grid_has_an_end(suite: Suite) -> Iterator[Complaint]:
    cells = sum(
        len(entry.nfe or suite.nfe) * (len(entry.budgets or suite.budgets) if entry.spec.trains else 1)
        for entry in suite.methods
    )
    cells *= len(pairs(suite)) * len(suite.seeds)
    if cells > MOST_CELLS:
        yield ("methods",), f"the suite has {cells:,} cells; divide it into suites of at most {MOST_CELLS:,}"


def grids_are_on_the_teachers_path(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
        for options in entry.trials():
            for teacher in of_entry(suite, entry):
                yield from _labels_exist((*where, "options"), options, teacher)
                yield from _flow_is_left_above_zero((*where, "options"), options, teacher)
                grid, ends = getattr(options, "grid", None), levels(teacher)
                if isinstance(grid, Grid) and ends is not None:
                    yield from _ends_fall((*where, "options", "grid"), grid, options, ends)


def _labels_exist(place: Location, options: Options, teacher: Teacher) -> Iterator[Complaint]:
    if not isinstance(teacher, EDM_TEACHERS) or _may_have_labels(teacher):
        return
    grid = getattr(options, "grid", None)
    message = f"labels of a discrete path, which teacher {teacher.shown()!r} is not on"
    if isinstance(grid, Grid) and grid.of_labels:
        advice = "use uniform, quadratic, log-snr or karras"
        yield (*place, "grid", "spacing"), f"{grid.spacing} is a grid of {message}; {advice}"
    if getattr(options, "integer_labels", False):
        yield (*place, "integer_labels"), f"integer_labels needs {message}; leave it out"


def _may_have_labels(teacher: Teacher) -> bool:
    """Whether a checkpoint's own path is a discrete one, as far as is known before it is read."""
    if not isinstance(teacher, CheckpointOptions):
        return False
    if (known := network(teacher)) is not None:
        return known.labels is not None
    return not teacher.file.endswith(".pkl") and getattr(teacher, "form", "auto") not in CONTINUOUS


def _flow_is_left_above_zero(place: Location, options: Options, teacher: Teacher) -> Iterator[Complaint]:
    """On a network's own flow a grid has the ends that it has on that of `path`."""
    if getattr(options, "path", None) != "trained" or not isinstance(teacher, CheckpointOptions):
        return
    known = network(teacher)
    if FLOW not in (teacher.form, known.form if known else None):
        return
    try:
        type(options).model_validate({**options.model_dump(by_alias=True), "path": "flow-ot"})
    except ValidationError as error:
        yield (*place, "path"), error.errors()[0]["msg"].removeprefix("Value error, ").replace("flow-ot", "its flow")


def _ends_fall(place: Location, grid: Grid, options: Options, ends: tuple[float, float]) -> Iterator[Complaint]:
    """A grid has one end of its own, and the other from the teacher: these must be in order too."""
    own_path = isinstance(options, SolverOptions) and options.path not in (None, "vp-linear-fitted")
    lowest = grid.noise_min if grid.noise_min is not None else 0.0 if own_path else ends[0]
    highest = ends[1] if grid.noise_max is None else grid.noise_max
    if lowest >= highest:
        key = "noise_max" if grid.noise_min is None else "noise_min"
        yield (*place, key), f"the grid would go from noise level {highest:g} to {lowest:g}; it must fall"


def levels_are_drawn_where_the_teacher_is(suite: Suite) -> Iterator[Complaint]:
    for place, teacher in teachers(suite):
        yield from _law_reaches(place, teacher, teacher)
    for where, entry in entries(suite):
        for options in entry.trials():
            for teacher in of_entry(suite, entry):
                for part_at, part in _parts((*where, "options"), options):
                    yield from _law_reaches(part_at, part, teacher)


def _law_reaches(place: Location, options: BaseModel, teacher: Teacher) -> Iterator[Complaint]:
    mean, std = getattr(options, "log_sigma_mean", None), getattr(options, "log_sigma_std", None)
    ends = levels(teacher)
    if mean is None or std is None or ends is None:
        return
    lowest, highest = mean - TAIL * std, mean + TAIL * std
    if highest < math.log(ends[0]) or lowest > math.log(ends[1]):
        levels_of = f"the teacher's noise levels, {ends[0]:g} to {ends[1]:g}"
        yield (*place, "log_sigma_mean"), f"exp of N({mean:g}, {std:g}^2) draws none of {levels_of}"


def _parts(place: Location, options: BaseModel) -> Iterator[tuple[Location, BaseModel]]:
    """The options and those inside of them."""
    yield place, options
    for name in type(options).model_fields:
        if isinstance(part := getattr(options, name), BaseModel):
            yield from _parts((*place, name), part)


def of_entry(suite: Suite, entry: MethodEntry) -> list[Teacher]:
    """The teachers that a row meets: those of the suite, and the one that it is fitted on."""
    if entry.spec.alone:
        return []
    own = entry.fitted_on.teacher if entry.fitted_on is not None else None
    return [*(teacher for _, teacher in teachers(suite)), *([own] if own is not None else [])]


def networks_fit_the_images(suite: Suite) -> Iterator[Complaint]:
    for place, teacher, dataset in places(suite):
        shape = DATASETS[dataset].shape
        network = getattr(teacher, "network", None)
        if network is not None and (network.name == "unet") != (len(shape) == 3):
            yield (*place, "network"), f"a {network.name} does not fit {dataset}, whose samples have shape {shape}"
        elif isinstance(network, UNetOptions):
            halvings = len(network.multipliers) - 1
            if shape[1] % 2**halvings or shape[2] % 2**halvings:
                size = f"{dataset}'s images have side {shape[1]}, which cannot be halved {halvings} times"
                yield (*place, "network", "multipliers"), f"{size}: give fewer multipliers"
        if isinstance(teacher, CheckpointOptions) and len(shape) != 3:
            yield (*place, "file"), f"its network is one of images, and {dataset}'s samples have shape {shape}"


def lpips_compares_images(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
        for options in entry.trials():
            for place, part in _parts((*where, "options"), options):
                if getattr(part, "distance", None) != "lpips":
                    continue
                for _, dataset in datasets(suite):
                    shape = DATASETS[dataset].shape
                    if len(shape) != 3 or shape[0] not in (1, 3):
                        message = f"lpips compares images of one or three channels, and {dataset}'s samples have shape"
                        yield (*place, "distance"), f"{message} {shape}; choose another distance"


def learned_solvers_move_along_one_path(suite: Suite) -> Iterator[Complaint]:
    """What is fitted on one teacher is applied to others of its path and guidance alone."""
    for where, entry in entries(suite):
        if entry.fitted_on is None or entry.fitted_on.teacher is None:
            continue
        source = entry.fitted_on.teacher
        for _, teacher in teachers(suite):
            here, there = levels(teacher), levels(source)
            if here is not None and there is not None and here != there:
                message = f"it goes from noise level {there[1]:g} to {there[0]:g}, and teacher {teacher.shown()!r} from"
                yield (*where, "fitted_on", "teacher"), f"{message} {here[1]:g} to {here[0]:g}: these must be the same"
            if _guidance(source) != _guidance(teacher):
                message = f"it has guidance {_guidance(source)}, and teacher {teacher.shown()!r} {_guidance(teacher)}"
                yield (*where, "fitted_on", "teacher"), f"{message}: these must be the same"


def _guidance(teacher: Teacher) -> Any:
    scale = getattr(teacher, "guidance", None)
    return "none" if scale is None else scale


def budgets_are_in_units_of_the_method(suite: Suite) -> Iterator[Complaint]:
    for where, entry in entries(suite):
        if not entry.spec.trains:
            continue
        for j, budget in enumerate(entry.budgets or suite.budgets):
            place: Location = (*where, "budgets", j) if entry.budgets else ("budgets", j)
            for options in entry.trials():
                if budget.unit not in (known := units.units(entry, options)):
                    message = f"{entry.name} has no {budget.unit} to be given; its units are {', '.join(known)}"
                    yield (*place, budget.unit) if entry.budgets else (*where, "name"), message
                elif budget.phase_iterations and len(budget.phase_iterations) != units.phases(options):
                    given = f"{len(budget.phase_iterations)} numbers"
                    message = f"{given}, and {entry.name} has {units.phases(options)} phases with these options"
                    yield (*place, "phase_iterations"), message


def budgets_buy_a_step(suite: Suite) -> Iterator[Complaint]:
    """A step of a student takes a forward for each sample of its batch at least, and a batch of images."""
    for where, entry in entries(suite):
        if not entry.spec.needs_network:
            continue
        trials = entry.trials()
        for j, budget in enumerate(entry.budgets or suite.budgets):
            batch = max(getattr(options, "batch", 1) for options in trials)
            if budget.unit in ("evaluations", "images") and budget.amount / len(trials) < batch:
                place: Location = (*where, "budgets", j) if entry.budgets else ("budgets", j)
                share = f", divided between {len(trials)} trials," if len(trials) > 1 else ""
                message = f"{budget.label()}{share} buy no step of {entry.name}, whose batch is {batch}"
                yield place, f"{message}; give more, or a smaller batch"


def formulas_have_no_network_to_train(suite: Suite) -> Iterator[Complaint]:
    formulas = [teacher.name for _, teacher in teachers(suite) if not registry.TEACHERS[teacher.name].network]
    for where, entry in entries(suite):
        if formulas and entry.spec.needs_network:
            message = f"{entry.name} trains a copy of the teacher's network, and teacher {formulas[0]!r} is a formula"
            yield (*where, "name"), message + "; use a pretrain teacher"
