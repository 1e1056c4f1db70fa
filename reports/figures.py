"""The figures of a run, as SVG text that is the same for the same data."""

import io
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
GAP = 110
"""The grey between two pictures, between the black and the white of a digit."""


def quality_against_nfe(board: Board, metric: str, dataset: str, teacher: str) -> str:
    """Mean and standard deviation over seeds of one metric, a line per method."""
    rows = [
        {"NFE": entry.nfe, "method": _name(entry.row), metric: value}
        for entry in board.entries
        if (entry.dataset, entry.teacher) == (dataset, teacher)
        for value in entry.values.get(metric, {}).values()
    ]
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(7.6, 3.6), layout="constrained")
        if rows:
            frame = pd.DataFrame(rows)
            seaborn.lineplot(
                frame, x="NFE", y=metric, hue="method", style="method", markers=True, dashes=False,
                errorbar="sd", err_style="bars", ax=axes,
            )  # fmt: skip
            seaborn.move_legend(axes, "upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
            ticks = sorted(frame["NFE"].unique())
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            if metric.startswith(LOGARITHMIC) and (frame[metric] > 0).all():
                axes.set_yscale("log")
        axes.set(xlabel="network evaluations per sample (NFE)", title=f"{dataset}: {metric} against NFE")
        axes.grid(alpha=0.3)
        return _svg(figure)


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
        return _svg(figure)


def _pictured(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.nfe in PICTURED] or entries


def _name(row: tuple[str, ...]) -> str:
    method, variant, budget = row
    options = "" if variant.startswith("grid=") and " " in variant else variant
    return " ".join(filter(None, [method, options, f"({budget})" if budget != "0" else ""]))


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
