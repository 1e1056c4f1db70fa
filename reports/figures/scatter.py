"""Names beside points that are scattered."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..drawing import SMALL, text_size, wrap
from .layout import Label

OFFSETS = tuple((side, row) for row in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6) for side in (1, -1))
"""Where a name is tried: right and left of its point, at its height, then lines above and below."""
DISTANCE = 0.07
"""Inches between a point and its name."""
WIDEST = 1.3
"""Inches of a name."""

Box = tuple[float, float, float, float]


def name_points(
    axes: Axes, labels: Sequence[Label], lines: Sequence[Sequence[tuple[float, float]]], taken: Sequence[Box] = ()
) -> list[str]:
    """Name the points in the order of importance where a name covers neither another, nor `taken` (in inches), nor a
    corner of a line, nor if possible a line; with a thin leader where it is not beside its own point. The names for
    which there was no place.
    """
    dpi = axes.figure.dpi
    paths = [axes.transData.transform(np.asarray(line, dtype=float)) / dpi for line in lines if len(line)]
    taken = [*taken, *(_around(x, y, 0.035) for path in paths for x, y in path.tolist())]
    crossed = [_around(x, y, 0.015) for path in paths for x, y in _along(path)]
    frame = axes.bbox
    inside: Box = (frame.x0 / dpi, frame.y0 / dpi, frame.x1 / dpi + 0.1, frame.y1 / dpi)
    left_out = []
    for label in labels:
        x, y = axes.transData.transform((label.x, label.y)) / dpi
        text = wrap(label.text, WIDEST, SMALL, lines=1)
        width, height = text_size(text, SMALL)
        boxes = {place: _box(float(x), float(y), place, width, height) for place in OFFSETS}
        place = _best_place(boxes, inside, taken, crossed)
        if place is None:
            left_out.append(label.text)
        else:
            taken.append(boxes[place])
            _draw(axes, label, text, place, height)
    return left_out


def _best_place(
    boxes: Mapping[tuple[int, int], Box], inside: Box, taken: Sequence[Box], crossed: Sequence[Box]
) -> tuple[int, int] | None:
    """The first place inside the axes that is not taken, and if there is one not crossed by a line either."""
    free = [place for place, box in boxes.items() if _within(box, inside) and not _touches(box, taken)]
    clear = (place for place in free if not _touches(boxes[place], crossed))
    return next(clear, free[0] if free else None)


def _touches(box: Box, others: Sequence[Box]) -> bool:
    return any(_touch(box, other) for other in others)


def _around(x: float, y: float, half: float) -> Box:
    return x - half, y - half, x + half, y + half


def _along(path: np.ndarray) -> list[tuple[float, float]]:
    """Points on a line, each 0.03 inches."""
    found: list[tuple[float, float]] = []
    for start, end in itertools.pairwise(path):
        steps = np.linspace(0.0, 1.0, 1 + int(np.hypot(*(end - start)) / 0.03))[:, None]
        found += [(float(x), float(y)) for x, y in start + steps * (end - start)]
    return found


def _shift(place: tuple[int, int], height: float) -> tuple[float, float]:
    """(gap to the right or left, upwards) in inches."""
    side, row = place
    return side * (DISTANCE + (0.08 if row else 0.0)), row * height * 0.95


def _box(x: float, y: float, place: tuple[int, int], width: float, height: float) -> Box:
    gap, up = _shift(place, height)
    ends = x + gap, x + gap + place[0] * width
    return min(ends), y + up - height / 2, max(ends), y + up + height / 2


def _within(box: Box, frame: Box) -> bool:
    return box[0] >= frame[0] and box[1] >= frame[1] and box[2] <= frame[2] and box[3] <= frame[3]


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _draw(axes: Axes, label: Label, text: str, place: tuple[int, int], height: float) -> None:
    gap, up = _shift(place, height)
    right = place[0] > 0
    leader: Any = {"arrowstyle": "-", "color": label.colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 1}
    axes.annotate(
        text, (label.x, label.y), (gap * 72, up * 72), textcoords="offset points", fontsize=SMALL,
        color=label.colour, ha="left" if right else "right", va="center", zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.4},
        arrowprops={**leader, "relpos": (0.0 if right else 1.0, 0.5)} if up else None,
    )  # fmt: skip
