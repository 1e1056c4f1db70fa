"""The same noises, side by side: what each method makes of them at each NFE."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import naming, run_folder
from ..drawing import BODY, HIGHEST, INK, SMALL, Sheet, wrap
from ..entries import Entry
from ..run_folder import EntryKey
from .chosen import Chosen, NothingToDrawError, at_largest_budget, by_row
from .layout import Note, gutter

FEWEST, MOST = 2, 8
"""Noises."""
TILE = 0.165
"""Inches of a picture at least, if there is room for FEWEST."""
LARGEST = 0.42
"""Inches of a picture at most."""
PIXELS = 48
"""Pictures are enlarged, each pixel to a square, to so many pixels at least: no viewer blurs them."""
BETWEEN, UNDER = 0.1, 0.15
"""Inches between columns, and for the value under a strip."""
HEAD = 0.22
"""Inches of the heads of the columns."""

Pictures = Mapping[EntryKey, np.ndarray]


@dataclass(frozen=True)
class Line:
    """A line of the matrix: the name of one row, or of several whose pictures are all the same; strips by column."""

    name: str
    strips: Mapping[int, tuple[np.ndarray, str]]
    """Column -> (pictures (n, C, H, W), what is printed below)."""


def matrix(chosen: Chosen) -> Figure:
    """Methods down, NFE across, the exact solutions first; the quality is printed under each strip.

    A column holds the NFEs of one octave, of which each line shows one: 2 and 3, 4 to 7, and so on.
    """
    pictures, truth = _pictures(chosen)
    own = chosen.board.shown.get(chosen.problem, [])
    entries = at_largest_budget([entry for entry in own if entry.key in pictures and entry.nfe])
    if not entries:
        raise NothingToDrawError(f"the runs hold no pictures ({run_folder.PICTURES}) of these rows")
    columns = _columns([entry.nfe for entry in entries])
    lines = _lines(chosen, entries, pictures, columns)
    if truth is not None:
        lines.insert(0, Line("exact solution", {0: (truth, "")}))
    return _figure(chosen, lines, columns)


def _pictures(chosen: Chosen) -> tuple[dict[EntryKey, np.ndarray], np.ndarray | None]:
    """Pictures by entry, of the folders together; the exact solutions of the problem, if a folder has them."""
    apart = any(entry.key.run for entry in chosen.board.entries)
    found: dict[EntryKey, np.ndarray] = {}
    truth = None
    for label, folder in chosen.folders.items():
        archive = run_folder.pictures(folder)
        if truth is None:
            truth = archive.get("/".join(["truth", *chosen.problem]))
        rows = run_folder.results(folder)
        rows = rows[rows["cell"].isin(set(archive))].drop_duplicates("cell")
        keys = [
            replace(EntryKey(*key), run=label if apart else "")
            for key in rows[run_folder.ENTRY_KEY].itertuples(index=False)
        ]
        found = {**dict(zip(keys, (archive[cell] for cell in rows["cell"]), strict=True)), **found}
    return found, truth


def _columns(nfes: Sequence[int]) -> list[list[int]]:
    """The NFEs of each column: an octave, or each its own where there are few."""
    found = sorted(set(nfes))
    if len(found) <= 4:
        return [[nfe] for nfe in found]
    octaves: dict[int, list[int]] = {}
    for nfe in found:
        octaves.setdefault(int(math.log2(nfe)), []).append(nfe)
    return list(octaves.values())


def _lines(
    chosen: Chosen, entries: Sequence[Entry], pictures: Pictures, columns: Sequence[Sequence[int]]
) -> list[Line]:
    rows = by_row(entries)
    names = naming.labels(chosen.board, rows)
    lines: dict[bytes, tuple[list[str], dict[int, tuple[np.ndarray, str]]]] = {}
    for row, line in rows.items():
        strips = {}
        for entry in reversed(line):
            column = next(place for place, nfes in enumerate(columns) if entry.nfe in nfes)
            strips[column] = (pictures[entry.key], _below(chosen, entry, len(columns[column]) > 1))
        same = b"".join(bytes([column]) + images.tobytes() for column, (images, _) in sorted(strips.items()))
        lines.setdefault(same, ([], strips))[0].append(names[row])
    return [Line(", ".join(own), strips) for own, strips in lines.values()]


def _below(chosen: Chosen, entry: Entry, mixed: bool) -> str:
    value = naming.number(chosen.mean(entry)) if entry.values.get(chosen.metric) else ""
    return ": ".join(filter(None, [f"NFE {entry.nfe}" if mixed else "", value]))


def _figure(chosen: Chosen, lines: Sequence[Line], columns: Sequence[Sequence[int]]) -> Figure:
    left, names = gutter([line.name for line in lines], 0.27 * chosen.width)
    left += 0.1
    across = (chosen.width - left - 0.05 - BETWEEN * (len(columns) - 1)) / len(columns)
    noises = min(MOST, max(FEWEST, int(across / TILE)), max(len(i) for line in lines for i, _ in line.strips.values()))
    tile = min(LARGEST, across / noises)
    room = int((HIGHEST - HEAD - 0.4) / (tile + UNDER))
    left_out = f"{len(lines) - room} more rows: choose with --methods." if len(lines) > room else ""
    note = Note(
        chosen.width, [], f"The same {noises} noises everywhere; below, {naming.metric(chosen.board, chosen.metric)}.",
        left_out,
    )  # fmt: skip
    height = HEAD + (tile + UNDER) * min(room, len(lines))
    sheet = Sheet(f"samples of the same noises on {chosen.problem[0]}", chosen.width, height + note.height)
    axes = sheet.axes(0, 0, sheet.width, sheet.height)
    axes.set_axis_off()
    for column, nfes in enumerate(columns):
        x = left + column * (across + BETWEEN)
        span = f"NFE {nfes[0]}" if len(nfes) == 1 else f"NFE {nfes[0]}–{nfes[-1]}"
        sheet.text(x + tile * noises / 2, 0.05, wrap(span, across, BODY, lines=1), BODY, ha="center")
    for place, (line, name) in enumerate(zip(lines[:room], names, strict=False)):
        top = HEAD + place * (tile + UNDER)
        axes.text(left - 0.06, top + tile / 2, name, fontsize=SMALL, ha="right", va="center", linespacing=1.05)
        for column, (images, below) in line.strips.items():
            x = left + column * (across + BETWEEN)
            _strip(axes, images[:noises], x, top, tile)
            text = wrap(below, across + 0.08, SMALL, lines=1)
            axes.text(x + tile * noises / 2, top + tile + 0.015, text, fontsize=SMALL, ha="center", va="top", color=INK)
    axes.set(xlim=(0, sheet.width), ylim=(sheet.height, 0))
    note.draw(sheet, sheet.height - note.height)
    return sheet.figure


def _strip(axes: Axes, images: np.ndarray, left: float, top: float, tile: float) -> None:
    factor = max(1, -(-PIXELS // images.shape[-1]))
    large = images.repeat(factor, axis=2).repeat(factor, axis=3)
    framed = np.pad(large, ((0, 0), (0, 0), (0, 0), (0, 2)), constant_values=255)
    strip: Any = np.concatenate(list(framed), axis=2).transpose(1, 2, 0).squeeze()
    extent = (left, left + tile * len(images), top + tile, top)
    axes.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="none", extent=extent, aspect="auto")
