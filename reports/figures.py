"""The figures of a run, as SVG text that is the same for the same data."""

import io
from collections import Counter
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

import pandas as pd
import seaborn
from matplotlib import pyplot
from matplotlib.figure import Figure

from .leaderboard import Board, Entry

STYLE: Any = {"svg.hashsalt": "fewstep", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 10}
LOGARITHMIC = ("fd_", "rmse")
PICTURED = (1, 2, 4, 8)
LINES = 16
"""More than so many lines are told apart by nobody."""
PANELS = 4
"""NFEs of which quality is drawn against the budget."""
GAP = 110
"""The grey between two pictures, between the black and the white of a digit."""


def quality_against_nfe(board: Board, metric: str, dataset: str, teacher: str) -> str:
    """Mean and standard deviation over seeds of one metric, a line per method.

    Budgets are named where there are several. More than LINES lines stand in a panel for each trained method, at its
    rows' largest budgets, with the methods without training behind them in grey.
    """
    entries = [e for e in board.entries if (e.dataset, e.teacher) == (dataset, teacher) and e.values.get(metric)]
    trained = list(dict.fromkeys(e.method for e in entries if e.budget != "0"))
    lines = [row for row, points in Counter(e.row for e in entries).items() if points > 1]
    crowded = len(lines) > LINES and bool(trained)
    panels = (
        [[e for e in _at_largest_budget(entries) if e.method == name] for name in trained] if crowded else [entries]
    )
    free = [e for e in entries if e.budget == "0"] if crowded else []
    with matplotlib.rc_context(STYLE):
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        height = max(3.6, 0.25 * max(len({e.row for e in members}) for members in panels))
        figure, axes = pyplot.subplots(
            rows, columns, figsize=(7.6 * columns, height * rows), layout="constrained", squeeze=False
        )
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        for axis, members in zip(axes.flat, panels, strict=False):
            _nfe_panel(axis, members, free, metric, len({e.budget for e in entries} - {"0"}) > 1)
            axis.set(xlabel="network evaluations per sample (NFE)", title=f"{dataset}: {metric} against NFE")
        return svg(figure)


def _at_largest_budget(entries: list[Entry]) -> list[Entry]:
    largest: dict[tuple[str, str, int], Entry] = {}
    for entry in entries:
        key = entry.method, entry.variant, entry.nfe
        if key not in largest or entry.evaluations >= largest[key].evaluations:
            largest[key] = entry
    return list(largest.values())


def _nfe_panel(axis: Any, entries: list[Entry], behind: list[Entry], metric: str, budgets: bool) -> None:
    for row in dict.fromkeys(e.row for e in behind):
        found = sorted((e.nfe, spread.mean) for e in behind if e.row == row and (spread := e.spread(metric)))
        axis.plot(*zip(*found, strict=True), color="0.75", linewidth=0.8, zorder=0)
    lines = [
        {"NFE": entry.nfe, "method": _name(entry.row if budgets else (*entry.row[:2], "0")), metric: value}
        for entry in entries
        for value in entry.values[metric].values()
    ]
    if lines:
        frame = pd.DataFrame(lines)
        seaborn.lineplot(
            frame, x="NFE", y=metric, hue="method", style="method", markers=True, dashes=False,
            errorbar="sd", err_style="bars", ax=axis,
        )  # fmt: skip
        seaborn.move_legend(axis, "upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        ticks = sorted({*frame["NFE"], *(e.nfe for e in behind)})
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        if metric.startswith(LOGARITHMIC) and (frame[metric] > 0).all():
            axis.set_yscale("log")
    axis.grid(alpha=0.3)


def quality_against_budget(board: Board, metric: str, dataset: str, teacher: str) -> str | None:
    """One metric against the evaluations that training spent, a panel per NFE, a line for each row with several
    budgets; methods without training as grey dashes. None where there is no such row.
    """
    entries = [e for e in board.entries if (e.dataset, e.teacher) == (dataset, teacher) and e.values.get(metric)]
    budgets: dict[tuple[str, str, int], set[str]] = {}
    for entry in entries:
        if entry.budget != "0":
            budgets.setdefault((entry.method, entry.variant, entry.nfe), set()).add(entry.budget)
    curves = [key for key, found in budgets.items() if len(found) > 1]
    nfes = sorted({nfe for _, _, nfe in curves})[:PANELS]
    if not nfes:
        return None
    names = list(dict.fromkeys((method, variant) for method, variant, _ in curves))
    colours = dict(zip(names, seaborn.color_palette("husl", len(names)), strict=True))
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            1, len(nfes), figsize=(2.0 + 2.9 * len(nfes), 3.4), squeeze=False, layout="constrained"
        )
        for axis, nfe in zip(axes[0], nfes, strict=True):
            free = [e.spread(metric) for e in entries if e.budget == "0" and e.nfe == nfe]
            for found in filter(None, free):
                axis.axhline(found.mean, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
            for name, colour in colours.items():
                _budget_line(axis, [e for e in entries if (e.method, e.variant, e.nfe) == (*name, nfe)], metric, colour)
            axis.set(xscale="log", xlabel="evaluations of training", title=f"NFE {nfe}")
            axis.set_yscale("log" if metric.startswith(LOGARITHMIC) else "linear")
            axis.grid(alpha=0.3)
        axes[0, 0].set_ylabel(metric)
        handles = [pyplot.Line2D([], [], color=c, label=_name((*name, "0"))) for name, c in colours.items()]
        handles.append(pyplot.Line2D([], [], color="0.75", linestyle="--", label="without training"))
        figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=7)
        return svg(figure)


def _budget_line(axis: Any, entries: list[Entry], metric: str, colour: Any) -> None:
    trained = sorted(entries, key=lambda e: e.evaluations)
    spreads = [entry.spread(metric) for entry in trained]
    means, stds = [s.mean for s in spreads if s], [s.std for s in spreads if s]
    errors = None if any(std != std for std in stds) else stds
    if trained:
        axis.errorbar([e.evaluations for e in trained], means, errors, color=colour, marker="o", markersize=3)


def samples_side_by_side(board: Board, pictures: dict[str, Any], cells: dict[tuple[Any, ...], str]) -> str | None:
    """One row per method and NFE, one column per noise, the exact solution first; None without images.

    Of many NFEs only those in PICTURED are shown, where there are any of these.

    pictures: name -> uint8 (n, C, H, W); cells: (dataset, teacher, row, nfe) -> name in `pictures`.
    """
    rows: list[tuple[str, Any]] = []
    for dataset, teacher in dict.fromkeys((entry.dataset, entry.teacher) for entry in board.entries):
        if (truth := pictures.get(f"truth/{dataset}/{teacher}")) is not None:
            rows.append(("exact ODE solution", truth))
        for entry in _pictured(board.entries):
            name = cells.get((dataset, teacher, entry.row, entry.nfe))
            if name in pictures and (entry.dataset, entry.teacher) == (dataset, teacher):
                rows.append((f"{entry.method}, NFE {entry.nfe}", pictures[name]))
    if not rows:
        return None
    with matplotlib.rc_context(STYLE):
        columns = max(len(images) for _, images in rows)
        figure, axes = pyplot.subplots(
            len(rows),
            1,
            figsize=(1.6 + 0.42 * columns, 0.46 * len(rows)),
            layout="constrained",
            squeeze=False,
        )
        for axis, (label, images) in zip(axes[:, 0], rows, strict=True):
            strip = np.concatenate(
                [np.pad(image, ((0, 0), (0, 0), (0, 1)), constant_values=GAP) for image in images], axis=2
            )
            axis.imshow(strip.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_axis_off()
            axis.text(-0.01, 0.5, label, transform=axis.transAxes, ha="right", va="center")
        return svg(figure)


def _pictured(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.nfe in PICTURED] or entries


def _name(row: tuple[str, ...]) -> str:
    method, variant, budget = row
    options = "" if variant.startswith("grid=") and " " in variant else variant
    return " ".join(filter(None, [method, options, f"({budget})" if budget != "0" else ""]))


def svg(figure: Figure) -> str:
    """The figure as SVG text, and closed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
