"""Quality against an option that a suite varies, as variants `... learning_rate=0.001` of one method."""

import re
from typing import Any

import matplotlib
import seaborn
from matplotlib import pyplot

from ..drawing import PANELS, STYLE, svg
from ..entries import Board, Entry

LEAST = 3
"""Values of an option that make a curve."""
NUMBER = re.compile(r"(\w+)=([-+.\de]+)(?=\s|$)")


def quality_against_options(board: Board, metric: str, dataset: str, teacher: str) -> dict[str, str]:
    """A figure per option that some method has at LEAST numbers: a line for each of its other options.

    A run that has no value, as it diverged, is a cross at the top.
    """
    entries = [e for e in board.entries if e.key.problem == (dataset, teacher)]
    drawn = {}
    for option in dict.fromkeys(name for e in entries for name, _ in NUMBER.findall(e.variant)):
        lines = {name: points for name, points in _lines(entries, option).items() if _curved(points)}
        if _measured(lines, metric):
            drawn[option] = _figure(lines, option, metric, board.about(metric).log_scale)
    return drawn


def _curved(points: list[tuple[float, Entry]]) -> bool:
    return len({x for x, _ in points}) >= LEAST


def _measured(lines: dict[str, list[tuple[float, Entry]]], metric: str) -> bool:
    return any(entry.values.get(metric) for points in lines.values() for _, entry in points)


def _lines(entries: list[Entry], option: str) -> dict[str, list[tuple[float, Entry]]]:
    """Method and other options -> (value, entry)."""
    lines: dict[str, list[tuple[float, Entry]]] = {}
    for entry in entries:
        values = dict(NUMBER.findall(entry.variant))
        if option in values:
            rest = re.sub(rf"\s*{option}=\S+", "", entry.variant).strip()
            budget = f"({entry.budget})" if len({e.budget for e in entries} - {"0"}) > 1 else ""
            name = " ".join(filter(None, [entry.method, rest, budget, entry.key.run]))
            lines.setdefault(name, []).append((float(values[option]), entry))
    return lines


def _figure(lines: dict[str, list[tuple[float, Entry]]], option: str, metric: str, log_scale: bool) -> str:
    nfes = sorted({entry.nfe for points in lines.values() for _, entry in points})[:PANELS]
    colours = dict(zip(lines, seaborn.color_palette("husl", len(lines)), strict=True))
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            1, len(nfes), figsize=(2.2 + 3.2 * len(nfes), 3.4), squeeze=False, layout="constrained"
        )
        for axis, nfe in zip(axes[0], nfes, strict=True):
            for name, points in lines.items():
                _line(axis, [(x, e) for x, e in points if e.nfe == nfe], metric, name, colours[name])
            axis.set_xscale(_scale([x for points in lines.values() for x, _ in points]))
            axis.set_yscale("log" if log_scale else "linear")
            axis.set(xlabel=option, title=f"NFE {nfe}")
            axis.grid(alpha=0.3)
        axes[0, 0].set_ylabel(metric)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=7)
        return svg(figure)


def _scale(values: list[float]) -> str:
    return "log" if min(values) > 0 and max(values) >= 10 * min(values) else "linear"


def _line(axis: Any, points: list[tuple[float, Entry]], metric: str, name: str, colour: Any) -> None:
    points = sorted(points, key=lambda point: point[0])
    found = [(x, spread) for x, entry in points if (spread := entry.spread(metric)) is not None]
    errors = None if any(s.std != s.std for _, s in found) else [s.std for _, s in found]
    axis.errorbar([x for x, _ in found], [s.mean for _, s in found], errors, color=colour, marker="o", label=name)
    lost = [x for x, entry in points if entry.spread(metric) is None]
    axis.plot(lost, [1.0] * len(lost), "x", color=colour, transform=axis.get_xaxis_transform(), clip_on=False)
