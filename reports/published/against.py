"""A paper's table beside a run of ours: which measured cell stands beside which published number."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..entries import Board, Entry
from ..errors import DamagedError
from ..exact import percent
from ..naming import budget, cell, number
from ..run_folder import PUBLISHED
from ..tables import Cell, Group, Table
from .collection import KEY, Row, collection, of_table
from .judgement import Circumstances, Judged, Verdict, judge, summary
from .papers import UNPUBLISHED, protocol
from .tolerance import Ours

FRECHET = ("fid", "fid_clean", "fid_legacy", "fd_digits")
METRICS = {
    "FID": FRECHET,
    **dict.fromkeys(("FID-5K", "FID-10K", "FID-30K"), ("fid_clean", "fid")),
    "IS": ("inception_score",),
    "precision": ("inception_precision", "precision"),
    "recall": ("inception_recall", "recall"),
    "CLIP": ("clip_score_g14", "clip_score"),
    "aesthetic": ("aesthetic",),
    "ImageReward": ("image_reward",),
    "PickScore": ("pickscore",),
    "HPSv2.1": ("hpsv2_1",),
    "PSNR": ("psnr",),
    "pct_of_GT_FID": tuple(map(percent, FRECHET)),
}
"""How papers call a metric, and what it is called here; of several the one that the suite measures."""
SCALE = {"CLIP": 0.01, "PickScore": 0.01}
"""What our value is multiplied by to be on the paper's scale."""


@dataclass(frozen=True)
class Beside:
    """What of a suite stands beside published rows. `bench` writes it as published.json, with these names.

    paper, table: whose; also: others with numbers of the same rows. problems: {dataset, teacher, family of the teacher,
    references by metric, samples, published: {dataset, conditioning, teacher, solver_or_variant, guidance}}. rows:
    {method, variant, own_settings, trained_share, forwards_per_nfe, measured_nfe, nfe: all that it is run at,
    published: {method, solver_or_variant: any of these}}. protocol: samples, labels, rounding. smoke: whether the run
    is a rehearsal.
    """

    paper: str
    table: str | None
    problems: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    protocol: dict[str, str] = field(default_factory=dict)
    smoke: bool = False
    also: list[tuple[str, str | None]] = field(default_factory=list)


BESIDE: TypeAdapter[Beside] = TypeAdapter(Beside)


def read(folder: Path) -> Beside | None:
    """What of the run's suite stands beside a paper's table; None if nothing. DamagedError for a file that is none."""
    file = folder / PUBLISHED
    if not file.is_file():
        return None
    try:
        return BESIDE.validate_json(file.read_bytes())
    except (ValidationError, OSError) as error:
        raise DamagedError(f"{file}: not as fewstep writes it: {' '.join(str(error).split())[:200]}") from None


@dataclass(frozen=True)
class Line:
    """One published number, or several of one key, with ours. metric: by our name, None if it is not measured.

    entries: all that stand beside it, `entry` first: NFEs of one row where the paper prints the least over them.
    """

    rows: tuple[Row, ...]
    entry: Entry | None
    ours: Ours | None
    judged: Judged
    metric: str | None = None
    entries: tuple[Entry, ...] = ()

    @property
    def row(self) -> Row:
        return self.rows[0]

    @property
    def scale(self) -> float:
        """What our values are multiplied by to be on the paper's scale."""
        return SCALE.get(self.row.metric, 1.0)


def lines(beside: Beside, board: Board | None) -> list[Line]:
    """Every number of the paper's table in its order, with what we measured of it; without a board, with nothing."""
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for paper, table in [(beside.paper, beside.table), *beside.also]:
        for row in of_table(collection(), paper, table):
            grouped.setdefault(row.key, []).append(row)
    return [_line(tuple(rows), beside, board) for rows in grouped.values()]


def _line(rows: tuple[Row, ...], beside: Beside, board: Board | None) -> Line:
    places = [problem for problem in beside.problems if _is_of(rows[0], problem)]
    own = [row for row in beside.rows if _is_row(rows[0], row) and _reaches(rows[0], row)]
    metric = _metric(rows[0].metric, board)
    planned = bool(places and own)
    found = _entries(rows[0], places, own, beside, board, metric) if planned and metric else []
    entry = next(iter(found), None)
    if entry is not None:
        own = [row for row in own if _is_entry(row, entry)]
    ours = _ours(entry, metric, rows[0].metric) if entry is not None and metric else None
    facts = _circumstances(rows[0], places, own, _absent(rows[0], entry, metric, board), metric, beside, planned)
    return Line(rows, entry, ours, judge(rows, ours, rows[0].metric, facts), metric, tuple(found))


def _is_lowest(row: Row) -> bool:
    known = protocol(row.paper_key, row.paper_table)
    return known is not None and known.over_nfes == "lowest"


def _least_first(entries: Sequence[Entry], metric: str) -> list[Entry]:
    """Those that have a value, the least first."""
    return sorted((entry for entry in entries if entry.values.get(metric)), key=lambda entry: _mean(entry, metric))


def _mean(entry: Entry, metric: str) -> float:
    return Ours(tuple(entry.values[metric].values())).mean


def _is_of(row: Row, problem: Mapping[str, Any]) -> bool:
    published = problem.get("published") or {}
    named = published.get("dataset") == row.dataset and published.get("teacher") in (None, row.teacher)
    variants = published.get("solver_or_variant")
    told = variants is None or row.solver_or_variant in variants
    guidance = published.get("guidance")
    guided = guidance is None or (row.guidance_scale and float(row.guidance_scale) == guidance)
    return bool(named and told and guided) and published.get("conditioning") in (None, row.conditioning)


def _is_row(row: Row, own: Mapping[str, Any]) -> bool:
    published = own.get("published") or {}
    variants = published.get("solver_or_variant")
    named = variants is None or row.solver_or_variant in variants
    return row.method == published.get("method") and named


def _metric(name: str, board: Board | None) -> str | None:
    known = METRICS.get(name, ())
    return next((metric for metric in known if board is not None and metric in board.metrics), None)


def _entries(
    row: Row,
    places: Sequence[Mapping[str, Any]],
    own: Sequence[Mapping[str, Any]],
    beside: Beside,
    board: Board | None,
    metric: str,
) -> list[Entry]:
    """Those that stand beside the row. Where the paper's number is the least of several NFEs, ours comes first."""
    teachers = {problem["teacher"] for problem in beside.problems}
    found = []
    for entry in board.entries if board is not None else ():
        line = next((r for r in own if _is_entry(r, entry)), None)
        # A row made elsewhere may bring a network of its own in place of the teacher.
        brings = entry.elsewhere and entry.teacher not in teachers
        here = any(p["dataset"] == entry.dataset and (brings or p["teacher"] == entry.teacher) for p in places)
        if line is not None and here and _at_nfe(row, entry, line):
            found.append(entry)
    return (_least_first(found, metric) or found) if _is_lowest(row) else found


def _is_entry(own: Mapping[str, Any], entry: Entry) -> bool:
    return (own["method"], own["variant"]) == (entry.method, entry.variant)


def _at_nfe(row: Row, entry: Entry, line: Mapping[str, Any]) -> bool:
    if _is_lowest(row):
        return True
    if line.get("measured_nfe") or not row.nfe:
        return bool(line.get("measured_nfe") or line.get("nfe"))
    return _is_nfe(row, entry.nfe, line)


def _reaches(row: Row, own: Mapping[str, Any]) -> bool:
    """Whether the suite has the row at the paper's NFE: the exact solution at the one that it needs, whichever the
    paper's took, where the paper prints none a row that has a single one, and at any where it prints the least of all.
    """
    nfes = own.get("nfe")
    if nfes is None or own.get("measured_nfe") or _is_lowest(row):
        return True
    return any(_is_nfe(row, nfe, own) for nfe in nfes) if row.nfe else len(nfes) == 1


def _is_nfe(row: Row, nfe: int, own: Mapping[str, Any]) -> bool:
    return bool(row.nfe) and nfe * own.get("forwards_per_nfe", 1) == int(row.nfe)


def _ours(entry: Entry, metric: str, published: str) -> Ours | None:
    values = entry.values.get(metric, {})
    if not values:
        return None
    scale = SCALE.get(published, 1.0)
    error, _ = entry.errors(metric)
    one = error * math.sqrt(len(values)) if not math.isnan(error) else math.nan
    return Ours([scale * value for value in values.values()], scale * one, entry.trained)


def _absent(row: Row, entry: Entry | None, metric: str | None, board: Board | None) -> str:
    """Why a planned row has no value, as far as more is known than that it was not run."""
    if board is not None and metric is None:
        return f"the suite does not measure {row.metric}"
    status = entry.statuses.get(metric) if entry is not None and metric else None
    return "" if status is None or status.done else str(status)


def _circumstances(
    row: Row,
    places: Sequence[Mapping[str, Any]],
    own: Sequence[Mapping[str, Any]],
    absent: str,
    metric: str | None,
    beside: Beside,
    planned: bool,
) -> Circumstances:
    known = protocol(row.paper_key, row.paper_table)
    place, line = (places[0] if places else {}), (own[0] if own else {})
    reference = place.get("references", {}).get(metric, "")
    samples = {"samples": place["samples"]} if place.get("samples") else {}
    measured = {**beside.protocol, **samples, "metric": metric or "", "reference": reference}
    return Circumstances(
        planned=planned,
        absent=absent,
        teacher=_teacher(row, place, known.teacher if known else ""),
        protocol=known.differences(measured) if known is not None else None,
        statistic=known.statistic if known is not None and known.statistic else "one-block",
        trained_share=line.get("trained_share"),
        own_settings=bool(line.get("own_settings")),
        smoke=beside.smoke,
    )


def _teacher(row: Row, place: Mapping[str, Any], theirs: str) -> str:
    """What differs in the teacher; empty if nothing does or nothing is known."""
    mine = place.get("family", "")
    if theirs == UNPUBLISHED:
        return f"the paper's network is unpublished; ours is {place.get('teacher', 'another')}"
    if theirs and mine != theirs:
        return f"ours is {place.get('teacher', 'another')}, the paper's one of {theirs.upper()}"
    return ""


def tables(beside: Beside, board: Board | None) -> list[Table]:
    """A table for each paper, data set and metric: the paper's rows in its order, quoted ones below a rule."""
    found: dict[tuple[str, ...], list[Line]] = {}
    for line in lines(beside, board):
        place = (line.row.paper_key, line.row.dataset, line.row.conditioning, line.row.metric)
        found.setdefault(place, []).append(line)
    return [_table(beside, place, own) for place, own in found.items()]


def _table(beside: Beside, place: Sequence[str], own: Sequence[Line]) -> Table:
    paper, dataset, conditioning, metric = place
    nfes = sorted({line.row.nfe for line in own}, key=lambda nfe: int(nfe or 0))
    named = {line.row.paper_table for line in own}
    table, smoke = f", {named.pop()}" if len(named) == 1 else "", " [smoke]" if beside.smoke else ""
    notes = [summary([line.judged for line in own]).text, *_reasons(own), *_sources(own)]
    spent = ["cost (evaluations)"] if any(line.entry is not None and line.entry.evaluations for line in own) else []
    return Table(
        f"{paper}{table}{smoke}: {metric} on {dataset} ({conditioning}), published | measured",
        ["method", *(f"NFE {nfe}" if nfe else "value" for nfe in nfes), *spent], _groups(own, nfes, bool(spent)), notes,
        key=tuple(place),
    )  # fmt: skip


def _groups(own: Sequence[Line], nfes: Sequence[str], spent: bool) -> list[Group]:
    """The rows of the paper in its order, those that the suite has first."""
    several = len({line.row.teacher for line in own if line.row.teacher}) > 1
    named: dict[tuple[str, ...], dict[str, list[Line]]] = {}
    for line in own:
        row = line.row
        guidance = f"w = {row.guidance_scale}" * bool(row.guidance_scale)
        head = (row.method, row.solver_or_variant, row.teacher * several, guidance)
        named.setdefault(head, {}).setdefault(row.nfe, []).append(line)
    groups: dict[str, list[list[Cell]]] = {"rows of the suite": [], "quoted": []}
    for names, found in named.items():
        title = "quoted" if all(map(_is_quoted, itertools.chain(*found.values()))) else "rows of the suite"
        groups[title].append(_cells(names, found, nfes, spent))
    return [Group(title, rows) for title, rows in groups.items() if rows]


def _is_quoted(line: Line) -> bool:
    return line.judged.verdict is Verdict.QUOTED


def _cells(head: Sequence[str], found: Mapping[str, Sequence[Line]], nfes: Sequence[str], costs: bool) -> list[Cell]:
    method, *details = head
    spent = max((line.entry.evaluations for own in found.values() for line in own if line.entry), default=0.0)
    text = budget(f"{spent:.3g} evaluations") if spent else ""
    cells = [_cell(found.get(nfe, ())) for nfe in nfes]
    return [Cell(method, ", ".join(filter(None, details))), *cells, *([Cell(text)] if costs else [])]


def _cell(own: Sequence[Line]) -> Cell:
    remembered = bool(own) and all(row.recalled for line in own for row in line.rows)
    return Cell("; ".join(map(_said, own)), muted=remembered, verdicts=tuple(str(line.judged.verdict) for line in own))


def _said(line: Line) -> str:
    """`2.04 | 1.97 -3.4 % reproduced`, or the paper's number alone."""
    judged, row = line.judged, line.row
    published = judged.published + " (memory)" * row.recalled + "†" * (row.read_in == "secondary")
    if line.ours is None:
        return published
    return f"{published} | {cell(line.ours.mean, line.ours.spread)} {judged.text}{_lowest_at(line)}"


WITHIN = 1.03
"""Of the least number over all NFEs: the paper that prints it gives the smallest NFE that is so near."""


def _lowest_at(line: Line) -> str:
    """` (least at NFE 79, within 3 % from 35)`, where the paper prints the least over all NFEs."""
    if line.entry is None or line.metric is None or not _is_lowest(line.row) or len(line.entries) < 2:
        return ""
    most = WITHIN * _mean(line.entry, line.metric)
    near = [entry.nfe for entry in line.entries if _mean(entry, line.metric) <= most]
    return f" (least at NFE {line.entry.nfe}, within 3 % from {min(near)})"


FRAME = (
    "problem_dataset", "problem_teacher", "value", "seeds", "standard_deviation", "published_value",
    "published_decimals", "verification", "difference", "half_width", "verdict", "reason", "close", "smoke",
)  # fmt: skip


def frame(beside: Beside, board: Board | None) -> list[dict[str, Any]]:
    """A row per published number, with the columns of the collection and FRAME; differences in shares."""
    found = []
    for line in lines(beside, board):
        entry, ours = line.entry, line.ours
        for row, judged in zip(line.rows, line.judged.parts or [line.judged] * len(line.rows), strict=False):
            found.append(
                {name: getattr(row, name) for name in (*KEY, "source")}
                | {
                    "problem_dataset": entry.dataset if entry else "",
                    "problem_teacher": entry.teacher if entry else "",
                    "value": ours.mean if ours else math.nan,
                    "seeds": len(ours.values) if ours else 0,
                    "standard_deviation": ours.spread if ours else math.nan,
                    "published_value": row.number,
                    "published_decimals": row.decimals,
                    "verification": row.verification,
                    "difference": judged.difference,
                    "half_width": judged.half_width,
                    "verdict": str(judged.verdict),
                    "reason": judged.reason,
                    "close": judged.close,
                    "smoke": int(beside.smoke),
                }
            )
    return found


def _reasons(own: Iterable[Line]) -> list[str]:
    """Each reason of a verdict once, with its verdict; what is said by the numbers themselves is left out."""
    told = (Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.QUOTED, Verdict.RECALLED)
    found: dict[str, int] = {}
    for line in own:
        if line.judged.verdict not in told:
            text = f"{line.judged.verdict}: {line.judged.reason}"
            found[text] = found.get(text, 0) + 1
    return [f"{text} ({count} cells)" if count > 1 else text for text, count in found.items()]


def _sources(own: Iterable[Line]) -> list[str]:
    notes = []
    if any(row.read_in == "secondary" for line in own for row in line.rows):
        notes.append("† read in a digest or another paper")
    for line in own:
        if line.judged.verdict is Verdict.SOURCES_DISAGREE:
            texts = "; ".join(f"{number(row.number)} in {row.source}" for row in line.rows)
            notes.append(f"{line.row.method} NFE {line.row.nfe}: {texts}")
    return notes
