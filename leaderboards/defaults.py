"""The rule by which small-scale defaults are chosen, applied to a run of the suite `defaults`.

    python leaderboards/defaults.py results

prints what it chooses, or the rows by which the suite is still to be widened. Of each method's points the lowest mean
distance over seeds wins, the smaller learning rate where two are equal. A choice on the edge of the declared grid adds
one point beyond it, once; after that the lowest of all points is the choice. `--write` keeps the choices in CHOSEN,
which `fewstep show` and the tests read.
"""

import argparse
import csv
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from fewstep.bench.suite.loading import load
from fewstep.bench.suite.schema import MethodEntry, Suite
from fewstep.reports import run_folder

SUITE, METRIC = "defaults", "fd_law"
CHOSEN = Path(__file__).parent / "chosen.csv"
COLUMNS = ("method", "option", "value", "points", "distance", "runner_up")
WIDER = "wider "
"""How the variant of a row begins that a choice on the edge has added."""
SHARES = {"ema": 1.0, "self_teacher_ema": 1.0}
"""Options that grow towards 1, so that their distance from it is what is multiplied."""

Options = dict[str, float]


@dataclass(frozen=True)
class Point:
    """A row of the suite: its options, the learning rate first, and its mean distance; inf where a seed has none."""

    options: tuple[tuple[str, float], ...]
    distance: float
    wider: bool


@dataclass(frozen=True)
class Choice:
    method: str
    point: Point
    points: int
    runner_up: float

    def rows(self) -> Iterator[dict[str, Any]]:
        for option, value in self.point.options:
            facts = (self.method, option, f"{value:g}", self.points, f"{self.point.distance:.4f}")
            yield dict(zip(COLUMNS, (*facts, f"{self.runner_up:.4f}"), strict=True))


def points(suite: Suite, rows: Iterable[dict[str, str]]) -> dict[str, list[Point]]:
    """Each trained method's points, in the suite's order. rows: of the run's results.csv."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if row["metric"] == METRIC:
            value = row["corrected"] if row["status"] == "done" else ""
            found[row["method"], row["variant"]].append(float(value or "inf"))
    chosen: dict[str, list[Point]] = defaultdict(list)
    for entry in suite.methods:
        if entry.spec.trains and (values := found[entry.name, entry.label()]):
            distance = mean(value if math.isfinite(value) else math.inf for value in values)
            chosen[entry.name].append(Point(_options(entry), distance, (entry.variant or "").startswith(WIDER)))
    return dict(chosen)


def _options(entry: MethodEntry) -> tuple[tuple[str, float], ...]:
    """Name and value of what the grid varies; `variant.s1` is s1 of the mapping `variant`."""
    found: dict[str, float] = {}
    for name, value in entry.options.items():
        inside = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{name}.{key}".rstrip("."): float(number) for key, number in inside if key != "name"}
    return tuple(found.items())


def lowest(of: Sequence[Point]) -> Point:
    """By distance, then by the smaller learning rate."""
    return min(of, key=lambda point: (point.distance, point.options))


def choices(found: dict[str, list[Point]]) -> list[Choice]:
    return [_choice(method, of) for method, of in found.items()]


def _choice(method: str, of: list[Point]) -> Choice:
    best = lowest(of)
    others = [point.distance for point in of if point is not best]
    return Choice(method, best, len(of), min(others, default=math.inf))


def widening(of: Sequence[Point]) -> list[Options]:
    """The options of the points that a choice on the edge of the declared grid adds: one for each such edge."""
    grid = [point for point in of if not point.wider]
    best = dict(lowest(grid).options)
    added = []
    for option, value in best.items():
        values = sorted({dict(point.options)[option] for point in grid})
        further = None if len(values) < 2 else _beyond(option, values, value)
        if further is not None:
            added.append({**best, option: further})
    return added


def _beyond(option: str, values: Sequence[float], value: float) -> float | None:
    """The next of a geometric series beyond the edge that `value` is, None inside or where there is no such value."""
    if value not in (values[0], values[-1]):
        return None
    up = value == values[-1]
    if option.endswith("learning_rate"):
        return _half_decade(value, up)
    neighbour = values[-2] if up else values[1]
    if option in SHARES:
        further = 1 - (1 - value) ** 2 / (1 - neighbour)
        return round(further, 4) if 0 <= further < 1 else None
    if 0 in values:
        return None
    further = value * value / neighbour
    return float(round(further)) if all(float(v).is_integer() for v in values) else float(f"{further:.2g}")


def _half_decade(rate: float, up: bool) -> float:
    """The neighbour of 1, 3, 10, 30, ... in the series of powers of the root of ten."""
    place = round(2 * math.log10(rate)) + (1 if up else -1)
    return float(f"{10 ** (place / 2):.0e}")


def missing(found: dict[str, list[Point]]) -> list[tuple[str, Options]]:
    """The points that the suite still lacks."""
    wanted = [(method, options) for method, of in found.items() for options in widening(of)]
    there = {(method, point.options) for method, of in found.items() for point in of}
    return [(method, options) for method, options in wanted if (method, tuple(options.items())) not in there]


def results(folder: Path) -> dict[str, list[Point]]:
    """The points of a run of the suite."""
    with (folder / run_folder.RESULTS).open(encoding="utf-8", newline="") as file:
        return points(load(SUITE), list(csv.DictReader(file)))


def write(made: Sequence[Choice], file: Path = CHOSEN) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        table = csv.DictWriter(opened, COLUMNS, lineterminator="\n")
        table.writeheader()
        for choice in made:
            table.writerows(choice.rows())


def main() -> None:
    parser = argparse.ArgumentParser(description="Choose defaults from a run of the suite `defaults`.")
    parser.add_argument("folder", type=Path, help="the run's folder")
    parser.add_argument("--write", action="store_true", help=f"keep the choices in {CHOSEN.name}")
    asked = parser.parse_args()
    found = results(asked.folder)
    lacking = missing(found)
    for method, options in lacking:
        said = ", ".join(f"{name}: {value:g}" for name, value in options.items())
        variant = WIDER + " ".join(f"{value:g}" for value in options.values())
        print(f"  - {{name: {method}, variant: {variant}, options: {{{said}}}}}")
    made = choices(found)
    for choice in made:
        said = ", ".join(f"{name} {value:g}" for name, value in choice.point.options)
        print(f"{choice.method}: {said}: {choice.point.distance:.4f} of {choice.points}; next {choice.runner_up:.4f}")
    if asked.write and lacking:
        sys.exit("the suite is to be widened by the rows above first")
    if asked.write:
        write(made)


if __name__ == "__main__":
    main()
