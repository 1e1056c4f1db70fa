"""Parts that several kinds of figures have: an axis of quality, lines with labels at their ends, a note below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..drawing import (
    HIGHEST,
    INK,
    SMALL,
    Sheet,
    height_of,
    keep_apart,
    linear,
    logarithmic,
    number,
    text_size,
    wrap,
)
from ..entries import MADE_ELSEWHERE
from .chosen import HOLLOW, MARKERS, PUBLISHED, Chosen

LEFT, RIGHT = 0.52, 0.04
"""Inches of the axis labels and ticks at the left, and at the right edge."""
BELOW = 0.36
"""Inches of tick labels and the name of the axis below."""
ABOVE = 0.18
"""Inches of a title above the axes."""
GAP = 0.09
"""Inches between axes and the labels beside them."""
UNDER, OVER = 0.15, 0.04
"""Inches below and above the axes that the labels beside them may take."""
KINDS = {"solver": "solver", "learned solver": "learned solver", "student": "student", "": "other"} | {
    name: name for name in (MADE_ELSEWHERE, PUBLISHED)
}


@dataclass(frozen=True)
class Label:
    """A name beside the axes for the point (x, y), in the units of the axes."""

    text: str
    x: float
    y: float
    colour: str = INK


def gutter(texts: Sequence[str], width: float, size: float = SMALL) -> tuple[float, list[str]]:
    """(inches that the labels take, labels broken into two lines where they would take over `width`)."""
    broken = [wrap(text, width, size, lines=2) for text in texts]
    widest = max((text_size(line, size)[0] for text in broken for line in text.split("\n")), default=0.0)
    return widest, broken


def tall_enough(texts: Sequence[str], least: float, size: float = SMALL) -> float:
    """Inches of axes beside which `end_labels` has room for all of these: `least`, or more."""
    return max(least, sum(height_of(text, size) for text in texts) - UNDER - OVER)


def end_labels(axes: Axes, labels: Sequence[Label], inches: float, size: float = SMALL) -> None:
    """Names to the right of the axes, `inches` high, beside their points and never over one another, with leaders."""
    at = [axes.transAxes.inverted().transform(axes.transData.transform((label.x, label.y))) for label in labels]
    heights = [height_of(label.text, size) for label in labels]
    middles = keep_apart([float(y) * inches for _, y in at], heights, -UNDER, inches + OVER)
    across = inches / (axes.bbox.height / axes.bbox.width)
    for label, (x, y), middle in zip(labels, at, middles, strict=True):
        end = 1 + GAP / across
        axes.plot(
            [x, end - 0.02 / across], [y, middle / inches], transform=axes.transAxes, clip_on=False,
            color=label.colour, linewidth=0.5, linestyle=(0, (1, 1.5)), zorder=1.5,
        )  # fmt: skip
        axes.text(
            end, middle / inches, label.text, transform=axes.transAxes, fontsize=size, color=label.colour,
            va="center", ha="left", linespacing=1.1,
        )  # fmt: skip


def quality_axis(axes: Axes, chosen: Chosen, inches: float, values: Sequence[float]) -> None:
    """The y axis: the metric's scale, wide enough for all values."""
    low, high = min(values), max(values)
    if chosen.logarithmic and low > 0:
        ratio = max(high / low, 1.2)
        logarithmic(axes.yaxis, low / ratio**0.05, high * ratio**0.05, inches, 0.2)
    else:
        margin = 0.06 * (high - low or abs(high) or 1.0)
        axes.set_ylim(low - margin, high + margin)
        linear(axes.yaxis, inches, 0.3)
    axes.grid(axis="y", color="0.92", linewidth=0.5, zorder=0)
    axes.set_axisbelow(True)


def extent(chosen: Chosen, entries: Sequence[Any]) -> list[float]:
    """The ends of all error bars; on a log scale a bar that reaches zero ends at half the mean."""
    ends = []
    for entry in entries:
        mean, error = chosen.mean(entry), chosen.error(entry)
        low = mean - error
        ends += [low if low > 0 or not chosen.logarithmic else mean / 2, mean + error]
    return ends


def points(axes: Axes, chosen: Chosen, xs: Sequence[float], entries: Sequence[Any], colour: str, **style: Any) -> None:
    """Means with the standard deviation over seeds as bars."""
    means, errors = [chosen.mean(e) for e in entries], [chosen.error(e) for e in entries]
    axes.errorbar(
        xs, means, errors, color=colour, elinewidth=0.7, capsize=1.5, capthick=0.7,
        **{"linewidth": 1.0, "markersize": 3.0, **style},
    )  # fmt: skip


def hollow(axes: Axes, xs: Sequence[float], ys: Sequence[float], colour: str) -> None:
    """What a paper prints: marks without a line, over those of ours."""
    style: dict[str, Any] = {**HOLLOW, "markerfacecolor": "none", "markersize": 5.0, "linewidth": 0}
    axes.plot(xs, ys, marker=MARKERS[PUBLISHED], color=colour, zorder=4, **style)


def evaluations_axis(axes: Axes, nfes: Sequence[int], inches: float) -> None:
    """The x axis of NFEs, on a log scale; ticks whose labels would touch are left out, powers of two last."""
    low, high = min(nfes), max(nfes)
    span = max(high / low, 1.5)
    axes.set_xscale("log", base=2)
    axes.set_xlim(low / span**0.05, high * span**0.05)
    shown: list[int] = []
    for nfe in sorted(set(nfes), key=lambda nfe: (nfe & (nfe - 1) != 0, nfe)):
        place = axes.transData.transform((nfe, 1))[0]
        if all(abs(axes.transData.transform((o, 1))[0] - place) > 0.16 * axes.figure.dpi for o in shown):
            shown.append(nfe)
    ticks(axes.xaxis, sorted(shown))


def ticks(axis: Any, values: Sequence[float], labels: Sequence[str] | None = None) -> None:
    """Exactly these ticks."""
    axis.set_ticks(list(values), list(labels) if labels is not None else [number(value) for value in values])
    axis.set_ticks([], minor=True)


def line_of_the_teacher(axes: Axes, value: float) -> None:
    axes.axhline(value, color=INK, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)


class Note:
    """The small print below: what the markers are and how the points were made; its height is known beforehand."""

    def __init__(
        self, width: float, kinds: Sequence[str], *sentences: str, colours: Mapping[str, str] | None = None
    ) -> None:
        self.colours = colours or {}
        self.kinds = [kind for kind in MARKERS if kind in kinds] if len(set(kinds)) > 1 else []
        self.text = wrap(" ".join(filter(None, sentences)), width - 0.1, SMALL)
        self.height = (0.13 if self.kinds else 0.0) + (height_of(self.text, SMALL) if self.text else 0.0) + 0.04

    def draw(self, sheet: Sheet, top: float) -> None:
        left = 0.05
        for kind in self.kinds:
            colour = self.colours.get(kind, "#555555")
            sheet.figure.add_artist(_mark(sheet, left + 0.04, top + 0.05, kind, colour))
            sheet.text(left + 0.11, top, KINDS[kind], SMALL, color=colour)
            left += 0.25 + text_size(KINDS[kind], SMALL)[0]
        sheet.text(0.05, top + (0.13 if self.kinds else 0.0), self.text, SMALL, color="#555555")


def _mark(sheet: Sheet, left: float, top: float, kind: str, colour: str) -> Line2D:
    at = [left / sheet.width], [1 - top / sheet.height]
    style: dict[str, Any] = HOLLOW if kind in (MADE_ELSEWHERE, PUBLISHED) else {}
    return Line2D(
        *at, marker=MARKERS[kind], color=colour, markersize=3, linewidth=0, transform=sheet.figure.transFigure, **style
    )


def fitted(height: float) -> float:
    """A height that a page holds."""
    return min(height, HIGHEST)
