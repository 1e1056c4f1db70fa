"""What a learned solver is: its few numbers drawn, the curves t(r) and s(r) of the papers."""

from typing import Any

import matplotlib
from matplotlib import pyplot

from ..drawing import STYLE, svg

SEEDS_ALPHA = 0.35
"""How strongly the seeds after the first are drawn."""
ROWS = 2
"""Of each method so many are drawn; learned.json has them all."""


def curves(records: list[dict[str, Any]]) -> str | None:
    """A row of panels for the first ROWS options of each method at the largest budget: each list of numbers against
    the first, a colour per NFE, seeds after the first fainter. None without records.
    """
    rows = _rows(records)
    if not rows:
        return None
    width = max(len(_panels(members)) for members in rows.values())
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(
            len(rows), width, figsize=(3.4 * width, 2.3 * len(rows)), squeeze=False, layout="constrained"
        )
        for line, (title, members) in zip(axes, rows.items(), strict=True):
            panels = _panels(members)
            for axis in line[len(panels) :]:
                axis.set_axis_off()
            for axis, name in zip(line, panels, strict=False):
                _draw(axis, members, name)
                axis.set_title(title, fontsize=8)
            line[0].legend(frameon=False, fontsize=7)
        return svg(figure)


def _rows(records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Records by title, each method's at its largest budget."""
    largest: dict[tuple[str, ...], str] = {}
    for record in records:
        key = (record["dataset"], record["teacher"], record["method"], record["variant"])
        largest[key] = max(largest.get(key, record["budget"]), record["budget"], key=_amount)
    rows: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        key = (record["dataset"], record["teacher"], record["method"], record["variant"])
        before = [other for other in largest if other[:3] == key[:3]].index(key)
        if record["budget"] == largest[key] and before < ROWS:
            rows.setdefault(" ".join(filter(None, key[2:])), []).append(record)
    return rows


def _amount(budget: str) -> float:
    return float(budget.split()[0])


def _panels(members: list[dict[str, Any]]) -> list[str]:
    return [name for name, _ in members[0]["learned"]][1:]


def _draw(axis: Any, members: list[dict[str, Any]], name: str) -> None:
    nfes = sorted({member["nfe"] for member in members})
    first = {nfe: min(member["seed"] for member in members if member["nfe"] == nfe) for nfe in nfes}
    across = members[0]["learned"][0][0]
    for member in members:
        numbers = dict(member["learned"])
        x, y = numbers[across], numbers.get(name, [])
        leads = member["seed"] == first[member["nfe"]]
        axis.plot(
            x[: len(y)], y, marker=".", markersize=4, linewidth=1, color=f"C{nfes.index(member['nfe'])}",
            alpha=1.0 if leads else SEEDS_ALPHA, label=f"NFE {member['nfe']}" if leads else None,
        )  # fmt: skip
    axis.set(xlabel=across, ylabel=name)
    axis.grid(alpha=0.3)
