"""Quality against NFE, and against what training spent: first what is drawn, without matplotlib, then the drawing."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import pandas as pd
import seaborn
from matplotlib import pyplot

from ..drawing import PANELS, STYLE, entries_of, line_names, svg
from ..entries import Board, Entry

LINES = 16
"""More than so many lines are told apart by nobody."""


@dataclass(frozen=True)
class NfePanel:
    """points: a row per entry and seed, with NFE, method (the line's name) and value. rows: the number of lines.
    behind: lines of (NFE, mean) in grey.
    """

    points: pd.DataFrame
    behind: list[list[tuple[int, float]]]
    rows: int

    @property
    def ticks(self) -> list[int]:
        return sorted({*self.points["NFE"], *(nfe for line in self.behind for nfe, _ in line)})


def nfe_panels(entries: Sequence[Entry], metric: str) -> list[NfePanel]:
    """Of entries that have a value: one panel, or where there are more than LINES lines one for each trained method,
    at its rows' largest budgets, with the methods without training behind them.

    Budgets are named where there are several.
    """
    budgets = len({entry.budget for entry in entries} - {"0"}) > 1
    free, trained = ([e for e in entries if (e.budget != "0") == paid] for paid in (False, True))
    if not (trained and _crowded(entries)):
        return [NfePanel(_points(entries, metric, budgets), [], _rows(entries))]
    behind = [_means(line, metric) for line in _by(free, lambda entry: entry.key.row).values()]
    largest = _by(_at_largest_budget(trained), lambda entry: (entry.method,)).values()
    return [NfePanel(_points(members, metric, budgets), behind, _rows(members)) for members in largest]


def _crowded(entries: Sequence[Entry]) -> bool:
    points = Counter(entry.key.row for entry in entries)
    return sum(count > 1 for count in points.values()) > LINES


def _by(entries: Sequence[Entry], key: Callable[[Entry], tuple[str, ...]]) -> dict[tuple[str, ...], list[Entry]]:
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        found.setdefault(key(entry), []).append(entry)
    return found


def _means(line: Sequence[Entry], metric: str) -> list[tuple[int, float]]:
    return sorted((entry.nfe, s.mean) for entry in line if (s := entry.spread(metric)))


def _rows(entries: Sequence[Entry]) -> int:
    return len({entry.key.row for entry in entries})


def _points(entries: Sequence[Entry], metric: str, budgets: bool) -> pd.DataFrame:
    names = line_names(dict.fromkeys(entry.key.row for entry in entries), budgets)
    points = [
        {"NFE": entry.nfe, "method": names[entry.key.row], metric: value}
        for entry in entries
        for value in entry.values[metric].values()
    ]
    return pd.DataFrame(points, columns=["NFE", "method", metric])


def _at_largest_budget(entries: Sequence[Entry]) -> list[Entry]:
    largest: dict[tuple[str, str, str, int], Entry] = {}
    for entry in entries:
        key = entry.method, entry.variant, entry.key.run, entry.nfe
        if key not in largest or entry.evaluations >= largest[key].evaluations:
            largest[key] = entry
    return list(largest.values())


def quality_against_nfe(board: Board, metric: str, dataset: str, teacher: str) -> str:
    """Mean and standard deviation over seeds of one metric, a line per method."""
    panels = nfe_panels(entries_of(board, metric, dataset, teacher), metric)
    with matplotlib.rc_context(STYLE):
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        height = max(3.6, 0.25 * max(panel.rows for panel in panels))
        figure, axes = pyplot.subplots(
            rows, columns, figsize=(7.6 * columns, height * rows), layout="constrained", squeeze=False
        )
        for axis in axes.flat[len(panels) :]:
            axis.set_axis_off()
        for axis, panel in zip(axes.flat, panels, strict=False):
            _draw_panel(axis, panel, metric, board.about(metric).log_scale)
            axis.set(xlabel="network evaluations per sample (NFE)", title=f"{dataset}: {metric} against NFE")
        return svg(figure)


def _draw_panel(axis: Any, panel: NfePanel, metric: str, log_scale: bool) -> None:
    for line in panel.behind:
        axis.plot(*zip(*line, strict=True), color="0.75", linewidth=0.8, zorder=0)
    if len(panel.points):
        seaborn.lineplot(
            panel.points, x="NFE", y=metric, hue="method", style="method", markers=True, dashes=False,
            errorbar="sd", err_style="bars", ax=axis,
        )  # fmt: skip
        seaborn.move_legend(axis, "upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
        axis.set_xscale("log", base=2)
        axis.set_xticks(panel.ticks, [str(tick) for tick in panel.ticks])
        if log_scale and (panel.points[metric] > 0).all():
            axis.set_yscale("log")
    axis.grid(alpha=0.3)


@dataclass(frozen=True)
class BudgetPanel:
    """free: means of the methods without training. curves: by name, (evaluations of training, means, standard
    deviations or None if some are unknown), by rising evaluations; empty lists where a row has no value at this NFE.
    """

    nfe: int
    free: list[float]
    curves: dict[str, tuple[list[float], list[float], list[float] | None]]


def budget_panels(entries: Sequence[Entry], metric: str) -> list[BudgetPanel]:
    """Of entries that have a value: a panel for each of the first PANELS NFEs at which some row has several budgets,
    with all rows that have several at any NFE.
    """
    trained = _by([e for e in entries if e.budget != "0"], lambda e: (e.method, e.variant, "0", *e.key.row[3:]))
    several = {row: nfes for row, line in trained.items() if (nfes := _nfes_with_several_budgets(line))}
    names = line_names(several)
    lines = {name: trained[row] for row, name in names.items()}
    free = [entry for entry in entries if entry.budget == "0"]
    nfes = sorted({nfe for found in several.values() for nfe in found})[:PANELS]
    return [_budget_panel(nfe, free, lines, metric) for nfe in nfes]


def _budget_panel(nfe: int, free: Sequence[Entry], lines: Mapping[str, Sequence[Entry]], metric: str) -> BudgetPanel:
    means = [s.mean for entry in free if entry.nfe == nfe and (s := entry.spread(metric))]
    curves = {name: _curve([entry for entry in line if entry.nfe == nfe], metric) for name, line in lines.items()}
    return BudgetPanel(nfe, means, curves)


def _nfes_with_several_budgets(line: Sequence[Entry]) -> list[int]:
    counts = Counter(entry.nfe for entry in line)
    return [nfe for nfe, budgets in counts.items() if budgets > 1]


def _curve(entries: Sequence[Entry], metric: str) -> tuple[list[float], list[float], list[float] | None]:
    ordered = sorted(entries, key=lambda entry: entry.evaluations)
    spreads = [s for entry in ordered if (s := entry.spread(metric))]
    stds = [s.std for s in spreads]
    known = all(std == std for std in stds)
    return [entry.evaluations for entry in ordered], [s.mean for s in spreads], stds if known else None


def quality_against_budget(board: Board, metric: str, dataset: str, teacher: str) -> str | None:
    """One metric against the evaluations that training spent, a panel per NFE, a line for each row with several
    budgets; methods without training as grey dashes. None where there is no such row.
    """
    panels = budget_panels(entries_of(board, metric, dataset, teacher), metric)
    if not panels:
        return None
    names = list(panels[0].curves)
    colours = dict(zip(names, seaborn.color_palette("husl", len(names)), strict=True))
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            1, len(panels), figsize=(2.0 + 2.9 * len(panels), 3.4), squeeze=False, layout="constrained"
        )
        for axis, panel in zip(axes[0], panels, strict=True):
            for mean in panel.free:
                axis.axhline(mean, color="0.75", linewidth=0.8, linestyle="--", zorder=0)
            for name, curve in panel.curves.items():
                if curve[0]:
                    axis.errorbar(*curve, color=colours[name], marker="o", markersize=3)
            axis.set(xscale="log", xlabel="evaluations of training", title=f"NFE {panel.nfe}")
            axis.set_yscale("log" if board.about(metric).log_scale else "linear")
            axis.grid(alpha=0.3)
        axes[0, 0].set_ylabel(metric)
        handles = [pyplot.Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
        handles.append(pyplot.Line2D([], [], color="0.75", linestyle="--", label="without training"))
        figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=7)
        return svg(figure)
