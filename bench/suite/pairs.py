"""What a suite runs its methods on: every data set with every teacher, or the problems that it lists. No torch.

Nothing else multiplies data sets and teachers.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from .document import Location
from .schema import Suite, Teacher


class Pair(NamedTuple):
    """One data set with one teacher, and where each is written.

    references: metric -> the published statistics, or rows, that it is compared with. samples: of a cell, None for as
    many as the suite says.
    """

    dataset: str
    teacher: Teacher
    references: dict[str, str]
    samples: int | None
    dataset_at: Location
    teacher_at: Location


def pairs(suite: Suite) -> list[Pair]:
    """In the order of the suite; the references of a problem come before the suite's own."""
    if suite.problems:
        return [
            Pair(
                problem.dataset,
                problem.teacher,
                {**suite.references, **problem.references},
                problem.samples,
                ("problems", i, "dataset"),
                ("problems", i, "teacher"),
            )
            for i, problem in enumerate(suite.problems)
        ]
    return [
        Pair(dataset, teacher, suite.references, None, ("datasets", i), ("teachers", k))
        for (i, dataset), (k, teacher) in itertools.product(enumerate(suite.datasets), enumerate(suite.teachers))
    ]


def alone(suite: Suite) -> list[tuple[str, dict[str, str]]]:
    """(data set, references) of the rows that have no teacher of the suite's, each once."""
    listed = [(pair.dataset, pair.references) for pair in pairs(suite)]
    found: list[tuple[str, dict[str, str]]] = []
    for place in listed or [(dataset, suite.references) for dataset in suite.datasets]:
        found += [place] * (place not in found)
    return found


def teachers(suite: Suite) -> list[tuple[Location, Teacher]]:
    """The teachers as they are written, each with its place."""
    if suite.problems:
        return [(pair.teacher_at, pair.teacher) for pair in pairs(suite)]
    return [(("teachers", k), teacher) for k, teacher in enumerate(suite.teachers)]


def datasets(suite: Suite) -> list[tuple[Location, str]]:
    """The names of the data sets as they are written, each with its place."""
    if suite.problems:
        return [(pair.dataset_at, pair.dataset) for pair in pairs(suite)]
    return [(("datasets", i), name) for i, name in enumerate(suite.datasets)]


def references(suite: Suite) -> Iterator[tuple[Location, str, str]]:
    """(place, metric, what it is compared with), the suite's own and those of its problems."""
    yield from ((("references", metric), metric, file) for metric, file in suite.references.items())
    for i, problem in enumerate(suite.problems):
        own = problem.references.items()
        yield from ((("problems", i, "references", metric), metric, file) for metric, file in own)
