"""Figures of run folders, one file per kind: `figure` draws one, `for_report` those that a report shows."""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..rehearsal import MARK, WATERMARK, is_marked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..entries import Board
    from .chosen import Chosen

KINDS = {
    "nfe": ("nfe.against_nfe", "quality against network evaluations per sample"),
    "pareto": ("pareto.pareto", "quality at one NFE against the compute of training, and the frontier"),
    "flops": ("nfe.against_flops", "quality against the FLOPs of sampling"),
    "budget": ("budget.against_budget", "quality against the budget of training, by NFE"),
    "samples": ("samples.matrix", "samples of the same noises, methods down and NFE across"),
    "ablation": ("ablation.ablation", "quality by the options of a method"),
    "learned": ("learned.parameters", "the numbers that learned solvers have learned"),
    "training": ("training.losses", "the loss during training"),
    "tradeoff": ("tradeoff.tradeoff", "a distance against a score, by the scale of guidance"),
    "methods": ("ranks.critical_difference", "mean ranks of methods, and which cannot be told apart"),
}
"""Name -> (module and function that draws it, what it shows)."""
REPORTED = ("nfe", "pareto", "budget", "ablation", "learned", "samples")
"""The kinds that a report shows of each problem, as far as a run has them and they tell something."""
OVER_TEACHERS = "tradeoff"
"""The kind that a report shows of a data set and all its teachers, likewise."""
TOGETHER = ("methods", "tradeoff")
"""Kinds that show several problems in one figure."""
WITHOUT_METRIC = ("learned", "samples", "training")
"""Kinds that are the same for all metrics, but for what is printed beside."""


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
    """The figure of one kind (a name of KINDS), drawn from run folders, `width` inches wide and at most 9 high.

    `metric` is the suite's first where none is named. `methods` and `nfes` as in `leaderboard.read`, which also says
    what `labels` and `by_run` do with several folders. `dataset` and `teacher` choose a problem where there are
    several. `drawing.write(figure, file)` makes the file: PDF with embedded fonts, SVG or PNG, the same bytes for the
    same runs.

    ValueError of one line for what the runs do not hold, before anything is drawn.
    """
    if kind not in KINDS:
        raise ValueError(f"no kind of figure {kind!r}; there are {', '.join(KINDS)}")
    from .choose import choose

    chosen = choose(
        [Path(folder) for folder in folders], metric, methods, nfes, width, (dataset, teacher), labels, by_run,
        together=kind in TOGETHER,
    )  # fmt: skip
    return _drawn(chosen, kind)


def for_report(board: "Board", folders: Mapping[str, Path]) -> dict[str, str]:
    """The figures that a report of these folders (by label) shows, as SVG text by name. Ids differ between figures;
    each has a title.
    """
    from ..drawing import svg

    return {name: svg(drawn) for name, drawn in shown(board, folders)}


def shown(board: "Board", folders: Mapping[str, Path]) -> Iterator[tuple[str, "Figure"]]:
    """The figures of these folders (by label) with their names, such as `nfe_fd_digits` and `samples`: OVER_TEACHERS of
    each data set, REPORTED of each problem, by the first metric and as far as they tell something.
    """
    from .chosen import Chosen, NothingToDrawError

    metric = board.metrics[0]
    drawings: list[tuple[str, Chosen, str]] = []
    datasets = list(dict.fromkeys(dataset for dataset, _ in board.problems))
    for dataset in datasets:
        problems = tuple(problem for problem in board.problems if problem[0] == dataset)
        together = Chosen(board, metric, problems[0], folders=folders, problems=problems)
        drawings.append((OVER_TEACHERS, together, f"_{dataset}" if len(datasets) > 1 else ""))
    for problem in board.problems:
        several = "_".join(["", *problem]) if len(board.problems) > 1 else ""
        drawings += [(kind, Chosen(board, metric, problem, folders=folders), several) for kind in REPORTED]
    for kind, chosen, several in drawings:
        try:
            drawn = _drawn(chosen, kind, select=True)
        except NothingToDrawError:
            continue
        yield f"{kind}{several}" if kind in WITHOUT_METRIC else f"{kind}_{metric}{several}", drawn


def _drawn(chosen: "Chosen", kind: str, select: bool = False) -> "Figure":
    """`select`: NothingToDrawError also where the figure would say nothing that another does not."""
    import matplotlib

    from ..drawing import STYLE

    module, name = KINDS[kind][0].split(".")
    drawing = importlib.import_module(f".{module}", __package__)
    draw: Callable[[Chosen], Figure] = getattr(drawing, name)
    if select and hasattr(drawing, "check_worth"):
        drawing.check_worth(chosen)
    with matplotlib.rc_context(STYLE):
        figure = draw(chosen)
    if is_marked(chosen.board.suite):
        figure.text(0.5, 0.5, MARK.strip(), size=48, rotation=30, ha="center", va="center", alpha=0.2, gid=WATERMARK)
    return figure
