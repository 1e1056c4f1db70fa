"""Rules about networks that others published, as far as the register knows them before the files are here. No torch."""

from collections.abc import Iterator

from ...datasets.registry import DATASETS
from ...methods.specs.solver import Grid
from .fits import Complaint, entries, places
from .networks import network
from .schema import Suite


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
    """A grid of labels has a step for each evaluation at most, and as many labels as its network was trained on."""
    for where, entry in entries(suite):
        grids = [getattr(options, "grid", None) for options in entry.trials()]
        if not any(isinstance(grid, Grid) and grid.of_labels for grid in grids):
            continue
        most = max(entry.nfe or suite.nfe)
        for _, teacher, _ in places(suite):
            known = network(teacher)
            if known is not None and known.labels is not None and most > known.labels:
                message = f"{known.name} has {known.labels} labels, fewer than steps at NFE {most}"
                yield (*where, "nfe"), f"{message}; give another grid or fewer"
