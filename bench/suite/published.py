"""Rules about networks that others published, as far as the register knows them before the files are here. No torch."""

from collections.abc import Iterator

from ...datasets.registry import DATASETS
from ...methods.labels import visited
from ...methods.nfe import UnreachableNFE
from ...methods.options import Options
from ...methods.specs.solver import Grid, SolverSpec
from .fits import Complaint, entries, places
from .networks import network
from .schema import MethodEntry, Suite


def networks_are_of_the_data(suite: Suite) -> Iterator[Complaint]:
    """Shape, classes, and what the network is for."""
    for place, teacher, dataset in places(suite):
        known, spec = network(teacher), DATASETS[dataset]
        if known is None:
            continue
        at = place if place[-1] == "dataset" else (*place, "file")
        if known.kind == "consistency":
            yield (
                at,
                f"{known.name} is a student of few steps, not a teacher; make it a row: {{name: student, file: ...}}",
            )
        elif known.kind != "teacher":
            yield at, f"{known.name} is a {known.kind} of noisy images, not a teacher"
        elif known.shape != spec.shape:
            yield at, f"{known.name} makes images of shape {known.shape}, and {dataset}'s have {spec.shape}"
        elif known.classes not in (0, spec.classes):
            has = f"has {spec.classes}" if spec.classes else "has no labels"
            yield at, f"{known.name} was trained on {known.classes} classes, and {dataset} {has}"
        if not known.null and getattr(teacher, "guidance", None) is not None:
            message = f"{known.name} knows no null label, which classifier-free guidance needs; leave it out"
            yield (*place, "guidance"), message


def learned_variances_are_there(suite: Suite) -> Iterator[Complaint]:
    """The variance that a network has learned is sampled with where it has learned one."""
    for where, entry in entries(suite):
        for options in entry.trials():
            if getattr(options, "variance", None) != "learned":
                continue
            for _, teacher, _ in places(suite):
                known = network(teacher)
                if known is not None and known.variance != "learned":
                    message = f"{known.name} has not learned a variance; choose another"
                    yield (*where, "options", "variance"), message


def rows_reach_an_nfe(suite: Suite) -> Iterator[Complaint]:
    """Of the NFEs that a row has for itself; of the suite's, each that is not reached is a cell with its reason."""
    for where, entry in entries(suite):
        reasons = [entry.refusal(nfe) for nfe in entry.nfe or ()]
        if reasons and all(reasons):
            yield (*where, "nfe"), f"{entry.name} reaches none of these NFEs: {reasons[0]}"


def labels_suffice(suite: Suite) -> Iterator[Complaint]:
    """A grid of labels has one for each step, among those that its network was trained on."""
    for where, entry in entries(suite):
        for options in entry.trials():
            grid = getattr(options, "grid", None)
            if not isinstance(grid, Grid) or not grid.of_labels:
                continue
            reasons = {
                f"{known.name} has {known.labels} labels: {reason}"
                for _, teacher, _ in places(suite)
                if (known := network(teacher)) is not None and known.labels is not None
                for nfe in entry.nfe or suite.nfe
                if (reason := _unvisited(entry, options, grid, known.labels, nfe)) is not None
            }
            yield from (((*where, "nfe"), reason) for reason in sorted(reasons))


def _unvisited(entry: MethodEntry, options: Options, grid: Grid, count: int, nfe: int) -> str | None:
    """Why the grid has no labels for that many evaluations; an NFE that is not reached is refused by itself."""
    spec = entry.spec
    try:
        steps = spec.steps_for(nfe, options) if isinstance(spec, SolverSpec) and spec.rule is not None else (1,) * nfe
        inner = isinstance(spec, SolverSpec) and spec.inner_nodes
        visited(grid, count, sum(steps) if inner else len(steps), isinstance(spec, SolverSpec) and spec.stays)
    except UnreachableNFE:
        return None
    except ValueError as error:
        return str(error)
    return None
