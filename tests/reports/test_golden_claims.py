"""The committed boards judged by the claims that they can decide: a change of code that flips a verdict is seen.

After new results are published, `python -m pytest tests/reports/test_golden_claims.py` shows what moved, and
FEWSTEP_GOLDEN=write writes it down.
"""

import os
from pathlib import Path

import pytest
import yaml

from fewstep.reports import formats, leaderboard
from fewstep.reports.claims import board as tables
from fewstep.reports.claims import reading
from fewstep.reports.claims.decide import Outcome
from fewstep.reports.claims.judge import judge
from fewstep.reports.claims.model import Claim
from fewstep.reports.naming import FREE

BOARDS = Path(__file__).parents[2] / "leaderboards"
GOLDEN = Path(__file__).parent / "golden" / "claims.txt"
STATED = {
    board: [Claim.model_validate(claim) for claim in claims]
    for board, claims in yaml.safe_load(GOLDEN.with_suffix(".yaml").read_text(encoding="utf-8")).items()
} | {
    board: reading.read([BOARDS / board])
    for board in (
        "claims",
        "claims-mixture",
        "claims-mixture-students",
        "claims-tuned",
        "claims-small-budgets",
        "cifar10-cpu",
    )
}
"""By board: those of claims.yaml, and what suites of claims state themselves."""


@pytest.fixture(scope="module")
def judged():
    """Board -> (board, verdicts)."""
    read = {name: leaderboard.read(BOARDS / name) for name in STATED}
    return {name: (board, judge(board, STATED[name])) for name, board in read.items()}


def test_the_verdicts_on_the_committed_boards_are_as_they_were(judged):
    parts = []
    for board, found in judged.values():
        parts.append(formats.write(tables.overview(board, found), "table", 120))
        for claim in dict.fromkeys(one.claim.id for one in found):
            own = [one for one in found if one.claim.id == claim]
            parts.append(formats.write(tables.details(board, own), "table", 120))
    text = "\n\n".join(parts) + "\n"
    if os.environ.get("FEWSTEP_GOLDEN") == "write":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_every_claim_is_decided_by_rows_that_its_board_has(judged):
    """Of the bigger budget at least: some rows are trained once."""
    for _, found in judged.values():
        run = {one.claim.id for one in found if one.outcome is not Outcome.NOT_RUN}
        assert run == {one.claim.id for one in found}


def differing(judged, board, budget):
    """(ids of the claims whose verdicts differ from those on digits, how many there are), without placebos."""
    on_digits, here = (
        {
            one.claim.id: one.outcome
            for one in judged[name][1]
            if not one.claim.placebo and one.context.budget in (budget, FREE)
        }
        for name in ("claims", board)
    )
    return {claim for claim, outcome in here.items() if outcome is not on_digits[claim]}, len(here)


def test_as_many_verdicts_differ_on_the_mixture_as_the_readme_says(judged):
    said = " ".join((BOARDS.parent / "README.md").read_text(encoding="utf-8").split())
    small, large = "30000 evaluations", "100000 evaluations"
    solvers = [differing(judged, "claims-mixture", budget) for budget in (small, large)]
    assert (len(solvers[0][0] & solvers[1][0]), solvers[0][1]) == (7, 14)
    assert "seven of the fourteen sentences about solvers and learned solvers get a different verdict" in said
    students = [differing(judged, "claims-mixture-students", budget) for budget in (small, large)]
    assert [(len(found), count) for found, count in students] == [(6, 14), (2, 14)]
    assert "two of fourteen" in said
    assert "with the larger budget, six with the smaller" in said


def test_one_sentence_depends_on_tuning_and_without_it_verdicts_are_those_of_claims(judged):
    _, found = judged["claims-tuned"]
    stated = [one for one in found if not one.claim.placebo]
    frozen = {(one.claim.id, one.context.budget): one.outcome for one in stated if not one.context.rules}
    tuned = {(one.claim.id, one.context.budget): one.outcome for one in stated if one.context.rules}
    assert frozen.keys() == tuned.keys()
    differing = {place for place in frozen if frozen[place] is not tuned[place]}
    flipped = {place for place in differing if {frozen[place], tuned[place]} == {Outcome.HOLDS, Outcome.FAILS}}
    assert (len(frozen), len(differing), len(flipped)) == (25, 6, 2)
    assert {claim for claim, _ in flipped} == {"tract-pd"}
    assert tables.flips(found) == ["depends on tuning: tract-pd"]
    on_digits = {(one.claim.id, one.context.budget): one.outcome for one in judged["claims"][1]}
    shared = frozen.keys() & on_digits.keys()
    assert len(shared) == 23
    assert all(frozen[place] is on_digits[place] for place in shared)
    said = " ".join((BOARDS.parent / "README.md").read_text(encoding="utf-8").split())
    assert "Of thirteen sentences that compare trained methods one holds with the settings as they come" in said
    assert len({claim for claim, _ in frozen}) == 13
