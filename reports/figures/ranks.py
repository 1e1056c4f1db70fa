"""Mean ranks of methods, and which of them cannot be told apart (Demšar 2006)."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming
from ..drawing import INK, PALETTE, SMALL, Sheet
from ..entries import Entry
from ..naming import Row
from .chosen import LEAST, Chosen, NothingToDrawError, at_largest_budget, by_row
from .layout import Note, gutter

LEAST_BLOCKS = 6
"""Comparisons (problem, NFE, seed) that ranks are averaged over, at least."""
MOST_NFES = 8
LEVEL = 0.05
LINE = 0.14
"""Inches between two names."""
TOP = 0.62
"""Inches above the first name: the critical difference and the axis."""

Block = tuple[tuple[str, str], int, int]
"""Problem, NFE and seed."""


def critical_difference(chosen: Chosen) -> Figure:
    """Ranks in each block (problem, NFE, seed), averaged; a bar joins rows whose mean ranks are closer than the
    critical difference of Nemenyi's test at LEVEL.

    Of NFEs those at which most rows can be compared, rows at their largest budgets, all problems of the board.
    """
    valued = [e for e in chosen.board.entries if e.values.get(chosen.metric) and not e.elsewhere]
    entries = _at_largest_budget([entry for entry in valued if entry.key.problem in chosen.problems])
    values = _comparable(chosen, entries)
    rows, blocks = list(values), list(next(iter(values.values()), {}))
    if len(rows) < LEAST or len(blocks) < LEAST_BLOCKS:
        raise NothingToDrawError(
            f"mean ranks take {LEAST} rows and {LEAST_BLOCKS} comparisons (problem, NFE, seed) that all of them have; "
            f"there are {len(rows)} rows and {len(blocks)}"
        )
    table = np.array([[values[row][block] for block in blocks] for row in rows])
    means, critical, p = tested(table * (-1 if chosen.higher else 1))
    return _figure(chosen, dict(zip(rows, means.tolist(), strict=True)), critical, p, blocks)


def tested(table: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(mean ranks, critical difference of Nemenyi's test, p of Friedman's test) of values (rows, blocks), the lower the
    better. Equal values share their mean rank.
    """
    from scipy.stats import chi2, rankdata, studentized_range

    count, blocks = table.shape
    ranks = rankdata(table, axis=0)
    means = ranks.mean(axis=1)
    between = blocks * ((means - (count + 1) / 2) ** 2).sum()
    within = ((ranks - (count + 1) / 2) ** 2).sum() / (blocks * (count - 1))
    p = float(chi2.sf(between / within, count - 1)) if within else 1.0
    quantile = float(studentized_range.ppf(1 - LEVEL, count, np.inf)) / 2**0.5
    return means, quantile * (count * (count + 1) / (6 * blocks)) ** 0.5, p


def _at_largest_budget(entries: Sequence[Entry]) -> list[Entry]:
    """On each problem apart."""
    problems = dict.fromkeys(entry.key.problem for entry in entries)
    return [e for problem in problems for e in at_largest_budget([e for e in entries if e.key.problem == problem])]


def _comparable(chosen: Chosen, entries: Sequence[Entry]) -> dict[Row, dict[Block, float]]:
    """The values of all rows that have all blocks of some NFEs, which are chosen for the most values."""
    rows: dict[Row, dict[Block, float]] = {}
    for row, line in by_row(entries).items():
        rows[row] = {
            (entry.key.problem, entry.nfe, seed): value
            for entry in line
            for seed, value in entry.values[chosen.metric].items()
        }
    counts = {nfe: sum(any(b[1] == nfe for b in found) for found in rows.values()) for nfe in _nfes(rows)}
    common = sorted(sorted(counts, key=lambda nfe: (-counts[nfe], nfe))[:MOST_NFES])
    best: dict[Row, dict[Block, float]] = {}
    for size in range(1, len(common) + 1):
        for nfes in itertools.combinations(common, size):
            found = _complete(rows, nfes)
            if len(found) >= LEAST and _size(found) > _size(best):
                best = found
    return best


def _nfes(rows: Mapping[Row, Mapping[Block, float]]) -> set[int]:
    return {block[1] for found in rows.values() for block in found}


def _size(found: Mapping[Row, Mapping[Block, float]]) -> int:
    return sum(map(len, found.values()))


def _complete(rows: Mapping[Row, Mapping[Block, float]], nfes: Sequence[int]) -> dict[Row, dict[Block, float]]:
    kept = {row: {b: v for b, v in found.items() if b[1] in nfes} for row, found in rows.items()}
    blocks = max(kept.values(), key=len)
    return {row: {b: found[b] for b in blocks} for row, found in kept.items() if blocks.keys() <= found.keys()}


def _figure(chosen: Chosen, means: Mapping[Row, float], critical: float, p: float, blocks: Sequence[Block]) -> Figure:
    ordered = sorted(means, key=lambda row: means[row])
    names = naming.labels(chosen.board, ordered)
    half = -(-len(ordered) // 2)
    right, texts = gutter([names[row] for row in ordered], 0.3 * chosen.width)
    bars = _cliques([means[row] for row in ordered], critical)
    problems, nfes = len({b[0] for b in blocks}), sorted({b[1] for b in blocks})
    said = "" if p < LEVEL else " Friedman's test finds no difference."
    note = Note(
        chosen.width, [],
        f"Ranks by {naming.metric(chosen.board, chosen.metric)}, 1 the best: means over {len(blocks)} comparisons "
        f"({problems} problem{'s' * (problems > 1)}, NFE {', '.join(map(str, nfes))}, "
        f"{len({b[2] for b in blocks})} seeds). Bars join what Nemenyi's test cannot tell apart at 5 %.{said}",
    )  # fmt: skip
    start = TOP + 0.09 * len(bars)
    height = start + LINE * half + 0.05
    sheet = Sheet(f"mean ranks by {chosen.quality}", chosen.width, height + note.height)
    axes = sheet.axes(0, 0, sheet.width, sheet.height)
    axes.set(xlim=(0, sheet.width), ylim=(sheet.height, 0))
    axes.set_axis_off()
    low, high = right + 0.25, chosen.width - right - 0.25

    def at(rank: float) -> float:
        return low + (high - low) * (rank - 1) / (len(ordered) - 1)

    _scale(axes, at, len(ordered), critical, high)
    for place, (row, text) in enumerate(zip(ordered, texts, strict=True)):
        leftward = place < half
        y = start + LINE * (place if leftward else len(ordered) - 1 - place) + 0.05
        end = right + 0.1 if leftward else chosen.width - right - 0.1
        axes.plot([at(means[row])] * 2 + [end], [0.45, y, y], color=INK, linewidth=0.6)
        side, shift = ("right", -0.04) if leftward else ("left", 0.04)
        axes.text(end + shift, y, text.replace("\n", " "), ha=side, va="center", fontsize=SMALL)
    for place, (first, last) in enumerate(bars):
        y = 0.45 + 0.09 * (place + 1)
        ends = at(means[ordered[first]]) - 0.03, at(means[ordered[last]]) + 0.03
        axes.plot(ends, [y, y], color=PALETTE[1], linewidth=2.5, solid_capstyle="butt")
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure


def _scale(axes: Axes, at: Callable[[float], float], count: int, critical: float, high: float) -> None:
    axes.plot([at(1), at(count)], [0.45, 0.45], color=INK, linewidth=0.8)
    step = max(1, math.ceil(count * 0.16 / (at(count) - at(1))))
    for rank in range(1, count + 1):
        axes.plot([at(rank)] * 2, [0.41, 0.45], color=INK, linewidth=0.6)
    for rank in range(1, count + 1, step):
        axes.text(at(rank), 0.4, str(rank), fontsize=SMALL, ha="center", va="bottom")
    end = min(at(1 + critical), high)
    axes.plot([at(1), end], [0.18, 0.18], color=INK, linewidth=1.0)
    for x in (at(1), end):
        axes.plot([x, x], [0.15, 0.21], color=INK, linewidth=1.0)
    axes.text((at(1) + end) / 2, 0.14, f"critical difference {critical:.2f}", fontsize=SMALL, ha="center", va="bottom")


def _cliques(means: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """(first, last) of the largest runs of sorted means that are within the critical difference."""
    found: list[tuple[int, int]] = []
    for first in range(len(means)):
        last = max(place for place, mean in enumerate(means) if mean - means[first] < critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
