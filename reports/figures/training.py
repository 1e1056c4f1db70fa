"""The loss of each method during training."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming, run_folder
from ..drawing import HIGHEST, PALETTE, SMALL, Sheet, linear, logarithmic, number, wrap
from ..naming import Row
from .chosen import Chosen, NothingToDrawError, at_largest_budget
from .layout import RIGHT, Note

LEFT, ABOVE, BELOW, HEIGHT = 0.4, 0.3, 0.22, 0.85
"""Inches around and of a panel."""
PANEL = 1.6
"""Inches that a panel takes at least."""
FEW = 4
"""Points that are marked, as they make no line."""
SEEDS_ALPHA = 0.4
"""How strongly the seeds after the first are drawn."""


def losses(chosen: Chosen) -> Figure:
    """A panel per row at its largest budget, as losses have no common unit."""
    panels = _panels(chosen)
    columns = max(1, int(chosen.width / PANEL))
    panels = dict(list(panels.items())[: columns * int((HIGHEST - 0.8) / (ABOVE + HEIGHT + BELOW))])
    names = naming.labels(chosen.board, panels)
    lines = -(-len(panels) // columns)
    note = Note(
        chosen.width, [], "Loss against evaluations of training; each method's loss is in its own unit.",
        "Seeds after the first are fainter." if any(f["seed"].nunique() > 1 for f in panels.values()) else "",
        "Methods that are trained anew for each NFE have a line for each, the darker the fewer."
        if any(_apart(f) for f in panels.values()) else "",
    )  # fmt: skip
    sheet = Sheet(
        f"the loss during training on {chosen.problem[0]}", chosen.width,
        (ABOVE + HEIGHT + BELOW) * lines + note.height,
    )  # fmt: skip
    width = (chosen.width - RIGHT - 0.1 - LEFT * columns) / columns
    for place, (row, frame) in enumerate(panels.items()):
        line, column = divmod(place, columns)
        top = ABOVE + line * (ABOVE + HEIGHT + BELOW)
        axes = sheet.axes(LEFT + column * (width + LEFT), top, width, HEIGHT)
        _draw(axes, frame, width)
        axes.set_title(wrap(names[row], width + LEFT - 0.1, SMALL, lines=2), fontsize=SMALL, pad=2)
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure


def _panels(chosen: Chosen) -> dict[Row, pd.DataFrame]:
    """Row -> its losses, with seed, nfe and run; at the largest budget."""
    frames = []
    several = any(entry.key.run for entry in chosen.board.entries)
    for label, folder in chosen.folders.items():
        keys = run_folder.costs(folder).drop_duplicates(["run", "nfe"])
        frame = run_folder.curves(folder).merge(keys.drop(columns="evaluations"), on="run")
        frames.append(frame.assign(label=label if several else ""))
    together = pd.concat(frames, ignore_index=True)
    together = together[(together["dataset"] == chosen.problem[0]) & (together["teacher"] == chosen.problem[1])]
    together = together.drop_duplicates(["label", "run", "nfe", "evaluations"])
    shown = {entry.key.row for entry in at_largest_budget(chosen.board.entries)}
    found: dict[Row, pd.DataFrame] = {}
    for key, frame in together.groupby(["method", "variant", "budget", "label"], sort=False):
        row = tuple(map(str, key[:3] if not key[3] else key))
        if row in shown:
            found[row] = frame
    if not found:
        raise NothingToDrawError("no loss was recorded (curves.csv)")
    return found


def _apart(frame: pd.DataFrame) -> Sequence[int]:
    """The NFEs of a method that is trained anew for each."""
    return sorted(set(frame["nfe"])) if frame.groupby("seed")["run"].nunique().max() > 1 else []


def _draw(axes: Axes, frame: pd.DataFrame, inches: float) -> None:
    first = frame["seed"].min()
    nfes = list(_apart(frame))
    for (seed, _), own in frame.groupby(["seed", "run"], sort=False):
        shade = nfes.index(own["nfe"].iloc[0]) / max(len(nfes), 1) if nfes else 0.0
        colour = PALETTE[0] if not nfes else (0.07 + 0.25 * shade, 0.03 + 0.49 * shade, 0.57 + 0.4 * shade)
        own = own.drop_duplicates("evaluations")
        axes.plot(
            own["evaluations"], own["loss"], color=colour, linewidth=0.8, alpha=1.0 if seed == first else SEEDS_ALPHA,
            marker="o" if len(own) < FEW else None, markersize=2,
        )  # fmt: skip
    values = frame["loss"].to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 5 * low:
        logarithmic(axes.yaxis, low / (high / low) ** 0.05, high * (high / low) ** 0.05, HEIGHT, 0.18)
    else:
        linear(axes.yaxis, HEIGHT, 0.28)
    most = float(frame["evaluations"].max())
    axes.set_xlim(0, most * 1.03)
    step = 10.0 ** np.floor(np.log10(most))
    step = step / 2 if most / step < 2 else step * 2 if most / step > 5 else step
    marks = np.arange(0.0, most * 1.02, step)
    axes.set_xticks(marks, [number(float(mark)) for mark in marks])
