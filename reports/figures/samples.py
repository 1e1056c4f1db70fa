"""The same noises, side by side: what each method makes of them."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot

from ..drawing import STYLE, svg
from ..entries import Board, Entry
from ..run_folder import EntryKey

PICTURED = (1, 2, 4, 8)
GAP = 110
"""The grey between two pictures, between the black and the white of a digit."""


def samples_side_by_side(board: Board, pictures: Mapping[str, Any], cells: Mapping[EntryKey, str]) -> str | None:
    """One row per method and NFE, one column per noise, the exact solution first; None without images.

    Of many NFEs only those in PICTURED are shown, where there are any of these.

    pictures: name -> uint8 (n, C, H, W); cells: entry -> name in `pictures`.
    """
    rows = _rows(board, pictures, cells)
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


def _rows(board: Board, pictures: Mapping[str, Any], cells: Mapping[EntryKey, str]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for problem in board.problems:
        if (truth := pictures.get("/".join(["truth", *problem]))) is not None:
            rows.append(("exact ODE solution", truth))
        for entry in _pictured(board.entries):
            name = cells.get(entry.key, "")
            if name in pictures and entry.key.problem == problem:
                rows.append((f"{entry.method}, NFE {entry.nfe}", pictures[name]))
    return rows


def _pictured(entries: list[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.nfe in PICTURED] or entries
