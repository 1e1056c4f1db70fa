"""What may be said of a measured number beside a published one: the first verdict that applies, and why."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .collection import Row
from .tolerance import Ours, compared, half_width


class Verdict(StrEnum):
    """In order of precedence."""

    SMOKE = "smoke"
    QUOTED = "quoted"
    NOT_RUN = "not run"
    RECALLED = "recalled"
    SOURCES_DISAGREE = "sources disagree"
    TEACHER_DIFFERS = "teacher differs"
    PROTOCOL_DIFFERS = "protocol differs"
    PROTOCOL_UNKNOWN = "protocol unknown"
    BUDGET_DIFFERS = "budget differs"
    SETTINGS_DIFFER = "settings differ"
    UNDECIDED = "undecided"
    REPRODUCED = "reproduced"
    DIFFERS = "differs"


CLOSE = {False: 0.03, True: 0.15}
"""Share of the published number within which ours is close, by whether the row is trained: FastGen's honest re-runs of
trained methods differ by up to 15 %."""
WIDEST = {False: 0.1, True: 0.25}
"""Share of our value that the half-width may have before nothing is decided."""
ENOUGH = 0.95
"""Share of the paper's training that a row must have had."""


@dataclass(frozen=True)
class Circumstances:
    """How the paper measured, as far as known, against how we did.

    planned: whether the suite has the row; absent: why it has no value. teacher: what differs in the teacher, empty if
    nothing does. protocol: what differs, None if the paper's is not known. statistic: of the paper's number,
    one-block, mean or min-of-3. trained_share: of the paper's training, None for a row without training or where the
    paper does not say. own_settings: hyper-parameters that the paper does not print. smoke: a rehearsal with random
    networks.
    """

    planned: bool = True
    absent: str = ""
    teacher: str = ""
    protocol: tuple[str, ...] | None = ()
    statistic: str = "one-block"
    trained_share: float | None = None
    own_settings: bool = False
    smoke: bool = False


@dataclass(frozen=True)
class Judged:
    """published: what is shown of the paper, several numbers where its sources disagree. difference: ours less the
    paper's, as a share of the paper's; NaN where nothing is compared. half_width: of the interval in which one more run
    of ours would fall. close: the weaker mark."""

    verdict: Verdict
    reason: str
    published: str
    difference: float = math.nan
    half_width: float = math.nan
    close: bool = False
    parts: tuple["Judged", ...] = ()

    @property
    def text(self) -> str:
        """`+3.6 % reproduced`, `+1.6 % differs, close`."""
        difference = "" if math.isnan(self.difference) else f"{100 * self.difference:+.1f} % "
        near = ", close" if self.close and self.verdict in (Verdict.UNDECIDED, Verdict.DIFFERS) else ""
        return difference + self.verdict + near


def judge(rows: Sequence[Row], ours: Ours | None, metric: str, circumstances: Circumstances) -> Judged:
    """Of the published rows of one key, several where sources disagree, and what we measured of it."""
    shown = " / ".join(dict.fromkeys(row.shown for row in rows))
    if (early := _not_compared(rows, ours, circumstances)) is not None:
        return Judged(*early, shown)
    assert ours is not None
    verified = [row for row in rows if not row.recalled]
    each = tuple(_compared(row, ours, metric, circumstances) for row in verified)
    if len({row.shown for row in verified}) == 1:
        return each[0]
    agreeing = [judged.published for judged in each if judged.verdict is Verdict.REPRODUCED]
    told = f"it agrees with {' and '.join(agreeing)}" if agreeing else "it agrees with neither"
    nearest = min(each, key=lambda judged: abs(judged.difference))
    return Judged(
        Verdict.SOURCES_DISAGREE, f"{shown} are published; {told}", shown, nearest.difference, nearest.half_width,
        nearest.close, each,
    )  # fmt: skip


def _not_compared(rows: Sequence[Row], ours: Ours | None, facts: Circumstances) -> tuple[Verdict, str] | None:
    if facts.smoke:
        return Verdict.SMOKE, "networks with random weights: nothing is compared"
    if not facts.planned:
        return Verdict.QUOTED, "the suite has no row for it"
    if ours is None or not ours.values:
        return Verdict.NOT_RUN, facts.absent or "not run yet"
    if all(row.recalled for row in rows):
        return Verdict.RECALLED, "from memory: shown, never compared"
    return None


def _compared(row: Row, ours: Ours, metric: str, facts: Circumstances) -> Judged:
    mine, theirs = compared(row.number, ours, facts.statistic)
    width = half_width(ours, metric, row.decimals)
    difference = (mine - theirs) / abs(theirs) if theirs else math.nan
    inside = abs(mine - theirs) <= width
    verdict, reason = _hindered(row, ours, width, facts) or (
        (Verdict.REPRODUCED, f"within ± {width:.2g}") if inside else (Verdict.DIFFERS, f"beyond ± {width:.2g}")
    )
    return Judged(verdict, reason, row.shown, difference, width, abs(difference) <= CLOSE[ours.trained])


def _hindered(row: Row, ours: Ours, width: float, facts: Circumstances) -> tuple[Verdict, str] | None:
    """Why a number may not be called reproduced, however near it is."""
    if facts.teacher:
        return Verdict.TEACHER_DIFFERS, facts.teacher
    if facts.protocol:
        return Verdict.PROTOCOL_DIFFERS, "; ".join(facts.protocol)
    if facts.protocol is None:
        return Verdict.PROTOCOL_UNKNOWN, "how the paper measured is not known well enough"
    if facts.trained_share is not None and facts.trained_share < ENOUGH:
        return Verdict.BUDGET_DIFFERS, f"trained for {100 * facts.trained_share:.3g} % of what the paper used"
    if facts.own_settings:
        return Verdict.SETTINGS_DIFFER, "the paper does not print its settings"
    if ours.trained and len(ours.values) < 3:
        return Verdict.UNDECIDED, f"{len(ours.values)} training seed{'s' * (len(ours.values) > 1)}; three say something"
    if math.isnan(width) or width > WIDEST[ours.trained] * abs(ours.mean):
        return Verdict.UNDECIDED, "our own spread is too wide"
    return None


@dataclass(frozen=True)
class Summary:
    """Of a table's comparable cells: how many were reproduced, how many would be if all were the same law, and the mean
    difference with its standard error, as shares of the published numbers."""

    compared: int
    reproduced: int
    mean_difference: float
    error: float

    @property
    def text(self) -> str:
        if not self.compared:
            return "no cell can be compared"
        share = f"{self.reproduced} of {self.compared} comparable cells reproduced"
        expected = f"{0.95 * self.compared:.3g} expected if every paper's run were one of ours"
        error = "" if math.isnan(self.error) else f" ± {100 * self.error:.2g}"
        return f"{share}, {expected}; mean difference {100 * self.mean_difference:+.2g}{error} %"


def summary(judged: Sequence[Judged]) -> Summary:
    """No correction for the number of cells: what is systematic shows in the mean."""
    found = [j for j in judged if j.verdict in (Verdict.REPRODUCED, Verdict.DIFFERS)]
    differences = [j.difference for j in found if not math.isnan(j.difference)]
    n = len(differences)
    mean = math.fsum(differences) / n if n else math.nan
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1) if n > 1 else math.nan
    return Summary(
        len(found),
        sum(j.verdict is Verdict.REPRODUCED for j in found),
        mean,
        math.sqrt(variance / n) if n > 1 else math.nan,
    )
