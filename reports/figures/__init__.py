"""Figures of run folders, one file per kind: `figure` draws one, `for_report` those that a report shows."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..entries import Board
    from .chosen import Chosen

KINDS = {
    "nfe": ("nfe.against_nfe", "quality against network evaluations per sample"),
    "pareto": ("pareto.pareto", "quality at one NFE against the compute of training, and the frontier"),
    "budget": ("budget.against_budget", "quality against the budget of training, by NFE"),
    "ablation": ("ablation.ablation", "quality by the options of a method"),
    "learned": ("learned.parameters", "the numbers that learned solvers have learned"),
    "training": ("training.losses", "the loss during training"),
    "samples": ("samples.matrix", "samples of the same noises, methods down and NFE across"),
    "methods": ("ranks.critical_difference", "mean ranks of methods, and which cannot be told apart"),
    "flops": ("nfe.against_flops", "quality against the FLOPs of sampling"),
}
"""Name -> (module and function that draws it, what it shows)."""


def _drawer(kind: str) -> "Callable[[Chosen], Figure]":
    module, name = KINDS[kind][0].split(".")
    return getattr(importlib.import_module(f".{module}", __package__), name)  # type: ignore[no-any-return]


def figure(
    folders: Sequence[Path | str],
    kind: str,
    *,
    metric: str | None = None,
    methods: Sequence[str] = (),
    nfes: Sequence[int] = (),
    width: float = 5.5,
    dataset: str | None = None,
    teacher: str | None = None,
    labels: Sequence[str] = (),
    by_run: bool = False,
) -> "Figure":
    """The figure of one kind (KINDS), drawn from run folders, `width` inches wide and at most 9 high.

    `metric` is the suite's first where none is named. `methods` and `nfes` as in `leaderboard.read`, which also says
    what `labels` and `by_run` do with several folders. `dataset` and `teacher` choose a problem where there are several.
    `drawing.write(figure, file)` writes the file: PDF with embedded fonts, SVG or PNG, the same bytes for the same runs.

    ValueError in one line for what the runs do not hold, before anything is drawn.
    """
    import matplotlib

    from ..drawing import STYLE
    from .choose import choose

    if kind not in KINDS:
        raise ValueError(f"no kind of figure {kind!r}; there are {', '.join(KINDS)}")
    chosen = choose(
        [Path(folder) for folder in folders], metric, methods, nfes, width, (dataset, teacher), labels, by_run
    )
    with matplotlib.rc_context(STYLE):
        return _drawer(kind)(chosen)
