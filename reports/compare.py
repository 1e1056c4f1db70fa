"""What changed beyond its error between two runs of one suite."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum

import numpy as np
import pandas as pd

from . import jackknife
from .entries import Board, Entry
from .lines import Line, fill
from .run_folder import EntryKey
from .significance import ERRORS, ROUNDING, differ
from .tables import Cell, Table


class Verdict(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    WITHIN = "within error"
    EQUAL = "equal"
    ONLY_OLD = "only in A"
    ONLY_NEW = "only in B"
    PROTOCOLS = "not compared: protocols differ"
    ELSEWHERE = "not compared: made elsewhere"


CHANGES = (Verdict.BETTER, Verdict.WORSE, Verdict.ONLY_OLD, Verdict.ONLY_NEW, Verdict.PROTOCOLS)


@dataclass(frozen=True)
class Measured:
    """A mean over the seeds and its standard error: over the noises where the jackknife has it, otherwise over the
    seeds; NaN where neither is known.
    """

    mean: float
    error: float

    def __str__(self) -> str:
        return _number(self.mean) + ("" if math.isnan(self.error) else f" ± {_number(self.error, self.mean)}")


@dataclass(frozen=True)
class Change:
    """One metric of one entry. difference: new - old, with the error of that where it can be had.

    untested: whether there are neither noises nor seeds to test it by. reason: why a run has no value, or which
    protocols differ.
    """

    key: EntryKey
    metric: str
    verdict: Verdict
    old: Measured | None = None
    new: Measured | None = None
    difference: Measured | None = None
    untested: bool = False
    reason: str = ""

    @property
    def words(self) -> str:
        return self.verdict + (" (one seed, not tested)" if self.untested else "")

    @property
    def worse(self) -> bool:
        return self.verdict is Verdict.WORSE


def changes(old: Board, new: Board) -> list[Change]:
    """Every metric of every entry that has a value in either, in the order of `old`, then what `new` has beside.

    Pairs of values on the same seeds are tested as in the ranks; those without a common seed by their errors.
    """
    before, after = ({entry.key: entry for entry in board.entries} for board in (old, new))
    metrics = list(dict.fromkeys([*old.metrics, *new.metrics]))
    found: list[Change] = []
    for key in dict.fromkeys([*before, *after]):
        for metric in metrics:
            higher = (new if metric in new.facts else old).about(metric).higher_is_better
            compare = _left_out if key.elsewhere else _change
            found += compare(key, metric, before.get(key), after.get(key), -1 if higher else 1)
    return found


def _left_out(key: EntryKey, metric: str, old: Entry | None, new: Entry | None, sign: int) -> Iterator[Change]:
    """Of a row that was made elsewhere: its values, and no verdict."""
    values = _measured(old, metric), _measured(new, metric)
    if values != (None, None):
        yield Change(key, metric, Verdict.ELSEWHERE, *values)


def _change(key: EntryKey, metric: str, old: Entry | None, new: Entry | None, sign: int) -> Iterator[Change]:
    has_old, has_new = (entry is not None and bool(entry.values.get(metric)) for entry in (old, new))
    if has_old and has_new:
        assert old is not None
        assert new is not None
        protocols = [entry.protocols.get(metric, "") for entry in (old, new)]
        if all(protocols) and protocols[0] != protocols[1]:
            found = (_measured(old, metric), _measured(new, metric))
            yield Change(key, metric, Verdict.PROTOCOLS, *found, reason=" and ".join(protocols))
        else:
            yield _compared(key, metric, old, new, sign)
    elif has_old or has_new:
        verdict = Verdict.ONLY_OLD if has_old else Verdict.ONLY_NEW
        reason = _reason(new if has_old else old, metric)
        yield Change(key, metric, verdict, _measured(old, metric), _measured(new, metric), reason=reason)


def _reason(entry: Entry | None, metric: str) -> str:
    """Why there is no value; empty where nobody asked for one."""
    status = entry.statuses.get(metric) if entry is not None else None
    return "" if status is None or status.done else str(status)


def _compared(key: EntryKey, metric: str, old: Entry, new: Entry, sign: int) -> Change:
    one, two = _measured(old, metric), _measured(new, metric)
    assert one is not None
    assert two is not None
    if seeds := sorted(set(old.values[metric]) & set(new.values[metric])):
        difference, apart = _paired(metric, old, new, seeds)
    else:
        difference = Measured(two.mean - one.mean, math.hypot(one.error, two.error))
        apart = not abs(difference.mean) <= max(ROUNDING * abs(one.mean), ERRORS * _known(difference.error))
    if apart:
        verdict = Verdict.BETTER if sign * difference.mean < 0 else Verdict.WORSE
    else:
        verdict = Verdict.EQUAL if old.values[metric] == new.values[metric] else Verdict.WITHIN
    return Change(key, metric, verdict, one, two, difference, apart and math.isnan(difference.error))


def _paired(metric: str, old: Entry, new: Entry, seeds: list[int]) -> tuple[Measured, bool]:
    """The mean difference over these seeds, and whether it is beyond its error."""
    values = [tuple(entry.values[metric][seed] for seed in seeds) for entry in (old, new)]
    known = [entry.without.get(metric, {}) for entry in (old, new)]
    blocks = [(known[0][seed], known[1][seed]) for seed in seeds if all(seed in k for k in known)]
    difference = Measured(float(np.mean(np.subtract(values[1], values[0]))), _paired_error(values, blocks))
    return difference, differ(values[0], values[1], [part for part in blocks if len(part[0]) == len(part[1])])


def _paired_error(pairs: list[tuple[float, ...]], blocks: list[tuple[list[float], list[float]]]) -> float:
    """The larger of the errors that the noises and the seeds give; NaN where neither does."""
    count = len(pairs[0])
    found = []
    if len(blocks) == count and all(len(one) == len(two) for one, two in blocks):
        found.append(
            math.sqrt(sum(jackknife.standard_error(np.subtract(one, two)) ** 2 for one, two in blocks)) / count
        )
    if count > 1:
        found.append(float(np.std(np.subtract(pairs[1], pairs[0]), ddof=1)) / math.sqrt(count))
    return max(found, default=math.nan)


def _measured(entry: Entry | None, metric: str) -> Measured | None:
    spread = entry.spread(metric) if entry is not None else None
    if entry is None or spread is None:
        return None
    error, _ = entry.errors(metric)
    return Measured(spread.mean, spread.std / math.sqrt(spread.n) if math.isnan(error) else error)


def _known(error: float) -> float:
    return 0.0 if math.isnan(error) else error


def _number(value: float, scale: float | None = None) -> str:
    size = abs(value if scale is None else scale)
    return f"{value:.{3 if size < 1 else 2 if size < 100 else 1}f}"


def table(found: list[Change], names: tuple[str, str], boards: tuple[Board, Board]) -> Table:
    """The changes, a line each; data set and teacher only if there are several."""
    old, new = boards
    both = replace(new, entries=[*old.entries, *new.entries], methods={**old.methods, **new.methods})
    several = len({change.key.problem for change in found}) > 1
    lines = []
    for change in found:
        values = [str(value) if value is not None else "–" for value in (change.old, change.new, change.difference)]
        cells = [both.about(change.metric).display, change.words, str(change.key.nfe), *values]
        lines.append(Line(change.key.row, [Cell(text) for text in cells], change.key.problem if several else ()))
    empty = Table("", ["metric", "verdict", "NFE", "A", "B", "B - A"], [], _notes(found, names), left=2)
    return fill(both, empty, lines, ["data set", "teacher"] if several else [])


def to_frame(found: list[Change]) -> pd.DataFrame:
    """The changes in full precision, with the standard errors; what is not known is empty."""
    lines = []
    for change in found:
        values = {"a": change.old, "b": change.new, "difference": change.difference}
        numbers = {name: (math.nan, math.nan) if v is None else (v.mean, v.error) for name, v in values.items()}
        of = {f"{name}{part}": numbers[name][i] for name in values for i, part in enumerate(("", "_error"))}
        lines.append(asdict(change.key) | {"metric": change.metric, "verdict": change.words} | of)
    columns = ["a", "a_error", "b", "b_error", "difference", "difference_error"]
    return pd.DataFrame(lines, columns=[*(part.name for part in fields(EntryKey)), "metric", "verdict", *columns])


def _notes(found: list[Change], names: tuple[str, str]) -> list[str]:
    reasons = dict.fromkeys(f"{change.words}: {change.reason}" for change in found if change.reason)
    return [f"A is {names[0]}, B is {names[1]}; ± is one standard error", *reasons]


def summary(found: list[Change]) -> str:
    """How many of each verdict, such as: 2 better, 1 worse, 40 equal."""
    counts: Mapping[Verdict, int] = {verdict: sum(c.verdict is verdict for c in found) for verdict in Verdict}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or "nothing to compare"
