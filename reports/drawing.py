"""What all figures share: colours and type, sheets measured in inches, labels that keep apart, and files of the same
bytes for the same data.
"""

import functools
import hashlib
import html
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from .writing import write_atomic

PALETTE = ("#5285ff", "#f3461c", "#1c8c61", "#e460ba", "#772205", "#120693", "#400d45", "#1e09f9")
"""Found by a search for the largest distance to deuteranopes and protanopes among colours at 3:1 on white."""
GREY, INK = "#a8a8a8", "#222222"
BODY, SMALL = 7.0, 6.0
"""Sizes of type in points, as printed."""
HIGHEST = 9.0
"""No figure is higher, in inches."""
FORMATS = ("pdf", "svg", "png")
DOTS_PER_INCH = 300
DIGITS: Sequence[Sequence[float]] = (
    range(1, 10),
    (1, 1.5, 2, 3, 5, 7),
    (1, 2, 3, 5),
    (1, 2, 5),
    (1, 3),
    (1,),
)
"""Of the ticks in a decade, the most that fit."""
MOST_TICKS = 7
"""On one axis."""

STYLE: Any = {
    **seaborn.axes_style("ticks"),
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize", "legend.fontsize"), BODY),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), SMALL),
    **dict.fromkeys(("axes.linewidth", "xtick.major.width", "ytick.major.width"), 0.6),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 2.5),
    **dict.fromkeys(("xtick.major.pad", "ytick.major.pad", "axes.labelpad"), 2.0),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color", "axes.labelcolor", "text.color"), INK),
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlepad": 3.0,
    "font.family": "DejaVu Sans", "lines.linewidth": 1.0, "lines.markersize": 3.0,
    "text.hinting": "none", "text.parse_math": False,
    "pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "fewstep",
    "savefig.dpi": DOTS_PER_INCH,
}  # fmt: skip
"""Text of SVG files is drawn as outlines: labels are placed by the measures of one font, which a browser may lack."""


def rendered(figure: Figure, form: str) -> bytes:
    """The figure as a file of FORMATS: the same bytes for the same data, no date, fonts embedded."""
    buffer = io.BytesIO()
    undated: Mapping[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[form]
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format=form, metadata={"Title": figure.get_label(), **undated})
    if form != "svg":
        return buffer.getvalue()
    text = buffer.getvalue().decode()
    return _accessible(text[text.index("<svg") :], str(figure.get_label())).encode()


def svg(figure: Figure) -> str:
    """The figure as an SVG element with a title, whose ids no other figure has."""
    return rendered(figure, "svg").decode()


def _accessible(text: str, title: str) -> str:
    prefix = f"f{hashlib.sha256(text.encode()).hexdigest()[:8]}-"
    text = re.sub(r' id="image[0-9a-f]+"', "", text)  # equal pictures would have equal ids, which nothing refers to
    text = re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>{prefix}", text)
    opening, rest = text.split(">", 1)
    labelled = f'{opening} role="img" aria-labelledby="{prefix}title">'
    return f'{labelled}\n <title id="{prefix}title">{html.escape(title)}</title>{rest}'


@functools.lru_cache(maxsize=4096)
def text_size(text: str, size: float) -> tuple[float, float]:
    """Width and height of one line of text in inches."""
    with matplotlib.rc_context(STYLE):
        drawn = _ruler().text(0, 0, text or " ", fontsize=size)
        box = drawn.get_window_extent(_renderer())
        drawn.remove()
    return box.width / DOTS_PER_INCH, size * 1.2 / 72


@functools.cache
def _ruler() -> Figure:
    return Figure(dpi=DOTS_PER_INCH)


@functools.cache
def _renderer() -> Any:
    return FigureCanvasAgg(_ruler()).get_renderer()


def wrap(text: str, width: float, size: float, lines: int = 0) -> str:
    """The text broken into lines of at most `width` inches; where `lines` do not suffice, the rest is an ellipsis."""
    broken = [""]
    for word in text.split():
        longer = f"{broken[-1]} {word}".strip()
        if broken[-1] and text_size(longer, size)[0] > width:
            broken.append(word)
        else:
            broken[-1] = longer
    if lines and len(broken) > lines:
        broken = [*broken[: lines - 1], " ".join(broken[lines - 1 :])]
    return "\n".join(_cut(line, width, size) for line in broken)


def _cut(text: str, width: float, size: float) -> str:
    if text_size(text, size)[0] <= width:
        return text
    while text and text_size(text + "…", size)[0] > width:
        text = text[:-1]
    return text.rstrip() + "…"


def height_of(text: str, size: float) -> float:
    """In inches, of a text of several lines."""
    return (text.count("\n") + 1) * size * 1.2 / 72


def keep_apart(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """The middles nearest to `wanted`, in least squares, at which intervals of these heights do not overlap and, as
    far as they fit, lie between low and high.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    blocks: list[tuple[float, float, list[int]]] = []
    for i in order:
        start, members = min(max(wanted[i] - heights[i] / 2, low), high - heights[i]), [i]
        total = heights[i]
        while blocks and blocks[-1][0] + blocks[-1][1] > start:
            before, length, earlier = blocks.pop()
            n, m = len(earlier), len(members)
            start = (before * n + (start - length) * m) / (n + m)
            members, total = earlier + members, length + total
            start = max(min(start, high - total), low)
        blocks.append((start, total, members))
    placed = [0.0] * len(wanted)
    for start, _, members in blocks:
        for i in members:
            placed[i] = start + heights[i] / 2
            start += heights[i]
    return placed


class Sheet:
    """A figure whose parts are placed in inches from its upper left corner."""

    def __init__(self, title: str, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        self.figure.set_label(title)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes of this place and size."""
        return self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )

    def text(self, left: float, top: float, text: str, size: float = BODY, **style: Any) -> None:
        """Text whose upper left corner, unless `style` says otherwise, is there."""
        aligned = {"va": "top", "linespacing": 1.15, **style}
        self.figure.text(left / self.width, 1 - top / self.height, text, fontsize=size, **aligned)


def logarithmic(axis: Any, low: float, high: float, inches: float, width_of_label: float = 0.3) -> None:
    """A log scale on an XAxis or YAxis from low to high, with as many ticks at round numbers as fit."""
    per_decade = inches / np.log10(high / low)
    for digits in DIGITS:
        ticks = _log_ticks(digits, low, high)
        if len(ticks) <= MOST_TICKS and all(
            per_decade * np.log10(after / before) >= width_of_label for before, after in itertools.pairwise(ticks)
        ):
            break
    else:
        fitting = max(1, int(min(MOST_TICKS, inches / width_of_label)))
        ticks = ticks[:: max(1, -(-len(ticks) // fitting))]
    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log")
    _fixed(axis, ticks, [number(tick) for tick in ticks])
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(low, high)


def linear(axis: Any, inches: float, width_of_label: float = 0.4, integer: bool = False) -> None:
    """As many ticks at round numbers as fit on an XAxis or YAxis."""
    axis.set_major_locator(MaxNLocator(max(2, min(MOST_TICKS, int(inches / width_of_label))), integer=integer))


def _log_ticks(digits: Sequence[float], low: float, high: float) -> list[float]:
    decades = range(int(np.floor(np.log10(low))) - 1, int(np.ceil(np.log10(high))) + 1)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits]
    return [tick for tick in ticks if low <= tick <= high]


def _fixed(axis: Any, ticks: Sequence[float], labels: Sequence[str]) -> None:
    axis.set_minor_locator(NullLocator())
    axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_ticklabels(list(labels))


def number(value: float) -> str:
    """As it is printed at a tick: 0.02, 5, 300, 30k, 2M, 5×10¹¹."""
    if value == 0 or 1e-4 <= abs(value) < 1e4:
        return f"{value:.4g}"
    for unit, letter in ((1e3, "k"), (1e6, "M")):
        if unit <= abs(value) < 1e3 * unit:
            return f"{value / unit:.4g}{letter}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if mantissa == "1" else f"{mantissa}×10{power}"


def write(figure: Figure, file: Path) -> None:
    """The figure as a file, in the format that its suffix names."""
    write_atomic(file, rendered(figure, file.suffix[1:].lower()))
