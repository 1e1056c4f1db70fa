"""The page of run folders, put together."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from .. import naming, quality
from ..entries import MADE_ELSEWHERE, Board
from ..figures import KINDS
from ..merge import Merged
from ..naming import Row
from ..published.judgement import Verdict
from ..rehearsal import is_marked
from ..tables import Table
from . import papers
from .details import Details, Problem
from .sources import Source
from .summary import summaries
from .svg import inline
from .views import title, views

STYLE, SCRIPT, PAGE = "report.css", "report.js", "report.html"


@dataclass(frozen=True)
class Choices:
    """What the page can be filtered by, in the order of the tables: text by value."""

    datasets: dict[str, str]
    kinds: dict[str, str]
    budgets: dict[str, str]
    nfes: list[int]
    usual: int
    """The NFE that most rows have."""


def html(
    board: Board,
    merged: Merged,
    drawn: Mapping[str, str],
    made_by: Sequence[Source],
    published: Sequence[Table] = (),
    claims: Sequence[Table] = (),
) -> str:
    """The page about a board, read from what is `merged`, with these figures by name.

    published: a paper's tables beside ours. claims: the board of claims and each of them.
    """
    ids = row_ids(board)
    style, script = (_source(name) for name in (STYLE, SCRIPT))
    text: str = (
        _templates()
        .get_template(PAGE)
        .render(
            board=board,
            rehearsal=is_marked(board.suite),
            sources=made_by,
            choices=_choices(board),
            summaries=[(title(board, told.grid), told) for told in summaries(board, _first_grids(board))],
            views=views(board, ids),
            figures=[
                (caption, inline(svg, caption, f"f{number}-"))
                for number, (name, svg) in enumerate(drawn.items(), 1)
                for caption in [_caption(board, name)]
            ],
            details=Details(board, merged, made_by, papers.read(board.papers)).all(ids),
            unfinished=_unfinished(board),
            published=published,
            verdicts=_verdicts(published),
            claims=claims,
            style=Markup(style),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    return text


def _verdicts(published: Sequence[Table]) -> dict[str, str]:
    """Those that some cell has, in their order of precedence."""
    given = {verdict for table in published for row in table.rows for cell in row for verdict in cell.verdicts}
    return {str(verdict): str(verdict) for verdict in Verdict if verdict in given}


def row_ids(board: Board) -> dict[tuple[Problem, Row], str]:
    """A row's place on the page, by problem and row."""
    rows = dict.fromkeys((problem, entry.key.row) for problem, own in board.shown.items() for entry in own)
    return {row: f"row-{number}" for number, row in enumerate(rows, 1)}


@cache
def _templates() -> Environment:
    loader = PackageLoader(__package__.rpartition(".")[0])
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["with_code"] = with_code
    return environment


def with_code(text: str) -> Markup:
    """HTML of a text whose `names` stand between backticks."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _source(name: str) -> str:
    environment = _templates()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _first_grids(board: Board) -> list[quality.Grid]:
    """Of the first metric that has a value."""
    for metric in board.metrics:
        grids = [grid for grid in quality.grids(board, [metric]) if grid.measured]
        if grids:
            return grids
    return []


def _choices(board: Board) -> Choices:
    nfes = sorted({entry.nfe for entry in board.entries})
    measured = [entry.nfe for entry in board.entries if entry.values]
    kinds = {board.kind(entry.key.row) for entry in board.entries}
    budgets = dict.fromkeys(entry.budget for entry in board.entries)
    shown = {text: naming.budget(text, unit=True) or "without training" for text in budgets}
    return Choices(
        {name: name for name in dict.fromkeys(entry.dataset for entry in board.entries)},
        {kind: text for kind, text in naming.GROUPS.items() if kind in kinds},
        shown | {entry.budget: MADE_ELSEWHERE for entry in board.entries if entry.elsewhere},
        nfes,
        max(nfes, key=measured.count),
    )


def _caption(board: Board, name: str) -> str:
    """Of a figure that is called by its kind, and by metric, data set and teacher where these tell it from others."""
    kind, _, rest = name.partition("_")
    metric = next(
        (metric for metric in board.metrics if rest.split("_")[: metric.count("_") + 1] == metric.split("_")), ""
    )
    where = rest.removeprefix(metric).strip("_").replace("_", ", ")
    said = KINDS[kind][1] if kind in KINDS else name.replace("_", " ")
    return ": ".join(filter(None, [naming.metric(board, metric) if metric else "", said])) + (
        f" ({where})" if where else ""
    )


def _unfinished(board: Board) -> list[tuple[str, str, list[int]]]:
    """(method, reason, NFEs) of the entries without all their values."""
    names = naming.displays(board)
    found: dict[tuple[str, str], list[int]] = {}
    for entry in board.entries:
        for status in dict.fromkeys(status for status in entry.statuses.values() if not status.done):
            nfes = found.setdefault((names[entry.method], str(status)), [])
            nfes += [entry.nfe] * (entry.nfe not in nfes)
    return [(method, reason, sorted(nfes)) for (method, reason), nfes in found.items()]
