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

BOARDS = Path(__file__).parents[2] / "leaderboards"
GOLDEN = Path(__file__).parent / "golden" / "claims.txt"
STATED = {
    board: [Claim.model_validate(claim) for claim in claims]
    for board, claims in yaml.safe_load(GOLDEN.with_suffix(".yaml").read_text(encoding="utf-8")).items()
} | {
    board: reading.read([BOARDS / board])
    for board in ("claims", "claims-mixture", "claims-small-budgets", "cifar10-cpu")
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
