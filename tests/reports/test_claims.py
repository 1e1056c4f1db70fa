"""Claims: three-way tests of paired differences, and verdicts on the rows of a run."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from fewstep.reports import formats, leaderboard
from fewstep.reports.claims import board as tables
from fewstep.reports.claims.decide import Interval, Outcome, holm, less, together, within
from fewstep.reports.claims.judge import ClaimError, corrected, judge
from fewstep.reports.claims.model import Claim

SD, NEGLIGIBLE, TRIALS = 0.08, 0.1, 4000


def decisions(n: int, ratio: float, seed: int = 0) -> list[Outcome]:
    """Of many simulated boards with n seeds, whose differences are N(log ratio, SD^2)."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(math.log(ratio), SD, (TRIALS, n))
    return [less(Interval.of(row.tolist()), -math.log1p(-NEGLIGIBLE)).outcome for row in drawn]


def share(outcomes: list[Outcome], outcome: Outcome) -> float:
    return outcomes.count(outcome) / len(outcomes)


@pytest.mark.parametrize(
    ("n", "power", "excluded"), [(3, 0.26, 0.25), (5, 0.60, 0.59), (8, 0.89, 0.87), (16, 0.998, 0.98)]
)
def test_the_power_is_that_of_students_t_test(n, power, excluded):
    """A gain of 10 % at a scatter of 8 % is seen this often, and so often a gain of 10 % is excluded where A = B."""
    assert share(decisions(n, 0.9), Outcome.HOLDS) == pytest.approx(power, abs=0.02)
    equal = decisions(n, 1.0)
    assert share(equal, Outcome.FAILS) == pytest.approx(excluded, abs=0.02)
    assert share(equal, Outcome.HOLDS) <= 0.03


def test_two_seeds_decide_nothing():
    assert set(decisions(2, 0.1)) == {Outcome.UNDECIDED}


def test_seeds_that_scatter_little_by_luck_decide_no_more_than_the_noises_allow():
    """Three equal differences with a jackknife error of 0.1: the interval is at least two of it."""
    assert less(Interval.of([-0.15] * 3, 0.05), 0.1).outcome is Outcome.HOLDS
    found = Interval.of([-0.15] * 3, 0.1)
    assert (found.low, found.high) == (pytest.approx(-0.35), pytest.approx(0.05))
    assert less(found, 0.1).outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(
    ("mean", "outcome"), [(0.0, Outcome.HOLDS), (0.18, Outcome.UNDECIDED), (0.4, Outcome.FAILS), (-0.5, Outcome.FAILS)]
)
def test_close_is_two_one_sided_tests(mean, outcome):
    interval = Interval.of([mean - 0.01, mean, mean + 0.01, mean - 0.02, mean + 0.02])
    assert within(interval, math.log(0.8), math.log(1.2)).outcome is outcome


def test_an_undecided_test_says_how_many_seeds_would_decide():
    """At mean 0 and gains of 10 % worth nothing: t_{n-1} sd/sqrt(n) falls below -log 0.9 first at that n."""
    differences = [-0.1, 0.1, -0.1, 0.1]
    found = less(Interval.of(differences), -math.log(0.9))
    assert found.outcome is Outcome.UNDECIDED
    interval = Interval.of(differences)
    assert interval.half(found.seeds) < -math.log(0.9) <= interval.half(found.seeds - 1)
    assert less(Interval.of([-5.0, 5.0, 0.0]), 0.1).seeds is None


def test_all_must_hold_and_one_that_does_not_decides():
    holds, fails, undecided, absent = Outcome.HOLDS, Outcome.FAILS, Outcome.UNDECIDED, Outcome.NOT_RUN
    assert together([holds, holds]) is holds
    assert together([holds, undecided]) is undecided
    assert together([holds, undecided, fails]) is fails
    assert together([holds, absent]) is absent
    assert together([]) is absent


def test_holm_rejects_in_order_until_the_first_that_it_cannot():
    assert holm([0.001, 0.02, 0.012, 0.3], level=0.025) == [True, False, False, False]
    assert holm([0.001, 0.008, 0.006, 0.02], level=0.025) == [True, True, True, True]
    assert holm([]) == []


CLAIM = {
    "id": "a-beats-b",
    "paper": {"key": "", "says": "A is better than B"},
    "metric": "fd_digits",
    "tests": [{"less": {"method": "a"}, "than": {"method": "b"}}],
    "at": {"nfe": [1]},
}


def claim(**changes) -> Claim:
    return Claim.model_validate(CLAIM | changes)


@pytest.fixture
def run(run_folder, row):
    """{(method, variant, budget, nfe): values by seed} -> the board."""

    def make(values, **changes):
        rows = [
            row(m, seed, value, variant=v, budget=b, nfe=nfe, train_evaluations=1.0 * (b != "0"), **changes)
            for (m, v, b, nfe), own in values.items()
            for seed, value in enumerate(own)
        ]
        return leaderboard.read(run_folder("run", rows))

    return make


B = [10.0, 11.0, 9.0, 10.5]
LESS = [8.0, 8.9, 7.1, 8.5]
BUDGETS = ("100 evaluations", "900 evaluations")


def outcomes(board, *claims):
    return [one.outcome for one in judge(board, claims)]


def test_a_claim_is_judged_at_each_budget_of_its_trained_rows(run):
    """Against a solver, which has no budget, too."""
    board = run({("a", "", BUDGETS[0], 1): LESS, ("a", "", BUDGETS[1], 1): B, ("b", "", "0", 1): B})
    judged = judge(board, [claim()])
    assert [(one.context.budget, one.outcome) for one in judged] == [
        (BUDGETS[0], Outcome.HOLDS),
        (BUDGETS[1], Outcome.FAILS),
    ]


def test_a_budget_at_which_none_of_its_trained_rows_was_run_is_no_context_of_a_claim(run):
    rows = {("a", "", BUDGETS[1], 1): LESS, ("b", "", "0", 1): B, ("c", "", BUDGETS[0], 1): B}
    assert [(one.context.budget, one.outcome) for one in judge(run(rows), [claim()])] == [(BUDGETS[1], Outcome.HOLDS)]
    rows |= {("b", "", BUDGETS[0], 1): B}
    assert {one.context.budget: one.outcome for one in judge(run(rows), [claim()])} == {
        BUDGETS[0]: Outcome.NOT_RUN,
        BUDGETS[1]: Outcome.HOLDS,
    }


def test_a_claim_about_solvers_is_judged_once_though_others_have_budgets(run):
    board = run(
        {("a", "", "0", 1): LESS, ("b", "", "0", 1): B, ("c", "", BUDGETS[0], 1): B, ("c", "", BUDGETS[1], 1): B}
    )
    assert outcomes(board, claim()) == [Outcome.HOLDS]


def test_the_interval_is_that_of_the_paired_logarithms(run):
    board = run({("a", "", "0", 1): LESS, ("b", "", "0", 1): B})
    (judged,) = judge(board, [claim()])
    logs = np.log(np.array(LESS) / B)
    interval = judged.parts[0].decision.interval
    assert interval.mean == pytest.approx(logs.mean())
    assert interval.sd == pytest.approx(logs.std(ddof=1))
    half = 3.182446 * logs.std(ddof=1) / 2
    assert tables.numbers(judged.parts[0]) == (
        f"{math.exp(logs.mean()):.2f} [{math.exp(logs.mean() - half):.2f}, {math.exp(logs.mean() + half):.2f}]"
    )


def test_dominates_needs_every_rival_and_names_the_one_that_decides(run):
    board = run({("a", "", "0", 1): LESS, ("b", "", "0", 1): B, ("c", "", "0", 1): LESS})
    over = [{"method": "b"}, {"method": "c"}]
    (judged,) = judge(board, [claim(tests=[{"dominates": {"method": "a"}, "over": over}])])
    assert judged.outcome is Outcome.FAILS
    assert [part.decision.outcome for part in judged.parts] == [Outcome.HOLDS, Outcome.FAILS]
    assert [part.text for part in judged.parts] == ["a < b", "a < c"]


def test_an_order_is_a_chain(run):
    board = run({("a", "", "0", 1): LESS, ("b", "", "0", 1): B, ("c", "", "0", 1): [2 * v for v in B]})
    order = [{"method": name} for name in "abc"]
    assert outcomes(board, claim(tests=[{"order": order}])) == [Outcome.HOLDS]
    assert outcomes(board, claim(tests=[{"order": order[::-1]}])) == [Outcome.FAILS]


def test_a_factor_and_the_nfe_of_a_row_are_applied(run):
    board = run({("a", "", "0", 1): LESS, ("b", "", "0", 10): B})
    test = {"less": {"method": "a", "nfe": 1}, "than": {"method": "b", "nfe": 10}}
    assert outcomes(board, claim(tests=[test], at={})) == [Outcome.HOLDS]
    assert outcomes(board, claim(tests=[{**test, "factor": 0.5}], at={})) == [Outcome.FAILS]


def test_shares_are_compared_by_their_difference_with_a_margin(run):
    board = run({("a", "", "0", 1): [0.5, 0.51, 0.49], ("b", "", "0", 1): [0.6, 0.61, 0.6]}, metric="recall")
    test = CLAIM["tests"][0]
    assert outcomes(board, claim(metric="recall", tests=[{**test, "margin": 0.03}])) == [Outcome.HOLDS]
    assert outcomes(board, claim(metric="recall", tests=[{**test, "margin": 0.2}])) == [Outcome.FAILS]


def test_a_mean_over_nfes_can_hold_where_not_all_do(run):
    board = run(
        {
            ("a", "", "0", 1): LESS,
            ("b", "", "0", 1): B,
            ("a", "", "0", 2): B,
            ("b", "", "0", 2): [v * f for v, f in zip(B, (1.1, 0.98, 1.08, 1.0), strict=True)],
        }
    )
    assert outcomes(board, claim(at={"nfe": [1, 2]})) != [Outcome.HOLDS]
    assert outcomes(board, claim(at={"nfe": [1, 2], "combine": "mean-log"})) == [Outcome.HOLDS]


def test_a_flat_sweep_is_told_from_a_steep_one_and_a_diverged_run_counts_as_untrained(run):
    budget = BUDGETS[0]
    values = {("a", f"lr={rate}", budget, 1): [v * (1 + 0.01 * rate) for v in B] for rate in (1, 2, 3)}
    values |= {("b", f"lr={rate}", budget, 1): [v * (1 + rate) for v in B] for rate in (1, 2)}
    values |= {("b", "lr=3", budget, 1): [None] * 4, ("euler", "", "0", 1): [v * 100 for v in B]}
    sweeps = [{"method": name, "variants": ["lr=1", "lr=2", "lr=3"]} for name in "ab"]
    (judged,) = judge(run(values), [claim(tests=[{"flatter": sweeps[0], "than_sweep": sweeps[1]}])])
    assert judged.outcome is Outcome.HOLDS
    flat = np.log([1.01, 1.02, 1.03])
    steep = np.log([2, 3, 100])
    expected = (flat.mean() - flat.min()) - (steep.mean() - steep.min())
    assert judged.parts[0].decision.interval.mean == pytest.approx(expected)


def test_faster_is_the_area_between_the_curves_over_the_budget(run):
    budgets = [f"{n} evaluations" for n in (100, 1000, 10000)]
    ratios = [0.5, 0.8, 1.0]
    values = {("b", "", budget, 1): B for budget in budgets}
    values |= {("a", "", b, 1): [r * v for v in B] for b, r in zip(budgets, ratios, strict=True)}
    (judged,) = judge(run(values), [claim(tests=[{"faster": {"method": "a"}, "than": {"method": "b"}}])])
    logs = np.log(ratios)
    assert judged.context.budget == "all budgets"
    assert judged.parts[0].decision.interval.mean == pytest.approx((logs[0] + 2 * logs[1] + logs[2]) / 4)
    assert judged.outcome is Outcome.HOLDS


def test_a_placebo_splits_a_row_into_even_and_odd_seeds(run):
    (judged,) = judge(
        run({("a", "", "0", 1): [8.0, 10.0, 12.0, 9.0, 7.0, 7.5]}), [claim(tests=[{"split": {"method": "a"}}])]
    )
    assert judged.outcome is Outcome.UNDECIDED
    logs = np.log([8 / 10, 12 / 9, 7 / 7.5])
    assert judged.parts[0].decision.interval.mean == pytest.approx(logs.mean())


def test_a_tuned_row_is_another_rule_set_and_a_variant_has_to_be_named(run):
    board = run({("a", v, BUDGETS[0], 1): x for v, x in (("", LESS), ("tuned of 3", B))} | {("b", "", "0", 1): B})
    assert [(one.context.rules, one.outcome) for one in judge(board, [claim()])] == [
        ("", Outcome.HOLDS),
        ("tuned of 3", Outcome.FAILS),
    ]
    text = " ".join(formats.write(tables.overview(board, judge(board, [claim()])), "table", 80).split())
    assert "holds: a-beats-b in 1 of 2" in text
    assert "depends on tuning: a-beats-b" in text
    board = run({("a", "x", "0", 1): LESS, ("a", "y", "0", 1): B, ("b", "", "0", 1): B})
    with pytest.raises(ClaimError, match="a has several variants, 'x', 'y': a claim must name one"):
        judge(board, [claim()])
    test = {"less": {"method": "a", "variant": "x"}, "than": {"method": "b"}}
    assert outcomes(board, claim(tests=[test])) == [Outcome.HOLDS]


def test_a_claim_without_its_rows_is_not_run_and_says_which(run):
    (judged,) = judge(run({("a", "", "0", 1): LESS}), [claim()])
    assert judged.outcome is Outcome.NOT_RUN
    assert judged.missing == "b at NFE 1 was not run"


def test_the_board_lists_a_claim_that_was_not_run(run):
    board = run({("a", "", "0", 1): LESS, ("c", "", "0", 1): B})
    judged = judge(board, [claim(), claim(id="other", tests=[{"less": {"method": "a"}, "than": {"method": "c"}}])])
    for kind in ("table", "markdown", "latex", "html"):
        text = formats.write(tables.overview(board, judged), kind, 80)
        assert "a-beats-b" in text
        assert "not run" in text


def test_a_sentence_has_a_verdict_per_budget_and_one_without_training_the_same_at_all(run):
    rows = {("a", "", BUDGETS[0], 1): LESS, ("a", "", BUDGETS[1], 1): B, ("b", "", "0", 1): B, ("c", "", "0", 1): LESS}
    solvers = claim(id="solvers", tests=[{"less": {"method": "c"}, "than": {"method": "b"}}])
    board = run(rows)
    table = tables.sentences(board, judge(board, [claim(), solvers, claim(id="luck", placebo=True)]))
    assert table.columns == ["claim", "what is said", "digits, 100", "digits, 900"]
    assert [group.title for group in table.groups] == ["", "controls"]
    assert [[str(cell) for cell in row] for row in table.groups[0].rows] == [
        ["a-beats-b", "A is better than B", "holds", "does not hold"],
        ["solvers", "A is better than B", "holds", "holds"],
    ]
    assert [row[0].text for row in table.groups[1].rows] == ["luck"]
    assert table.notes[:2] == [
        "3 tested: holds 2, does not hold 1, undecided 0; if none were true, 0.075 would hold by chance",
        "holds also after Holm's correction for all of them: 2",
    ]


def test_sentences_about_solvers_alone_have_a_column_of_their_data_set(run):
    board = run({("a", "", "0", 1): LESS, ("b", "", "0", 1): B})
    table = tables.sentences(board, judge(board, [claim()]))
    assert table.columns == ["claim", "what is said", "digits"]
    assert [str(cell) for cell in table.groups[0].rows[0]][2:] == ["holds"]


def test_placebos_are_left_out_of_the_correction(run):
    board = run({("a", "", "0", 1): LESS, ("b", "", "0", 1): B})
    claims = [claim(), *(claim(id=f"placebo-{i}", placebo=True) for i in range(50))]
    assert corrected(judge(board, claims)) == [True] + [False] * 50


def test_the_board_fits_a_terminal_and_says_what_is_by_chance(run):
    board = run({("a", "", "0", 1): LESS, ("b", "", "0", 1): B})
    judged = judge(board, [claim(), claim(id="reversed", tests=[{"less": {"method": "b"}, "than": {"method": "a"}}])])
    text = formats.write(tables.overview(board, judged), "table", 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "2 tested: holds 1, does not hold 1, undecided 0" in text
    assert "0.05 would hold by chance" in " ".join(text.split())
    text = formats.write(tables.details(board, judged[:1]), "table", 80)
    assert "“A is better than B”" in text
    assert "holds in 1 of 1" in text


WRONG = [
    ({"tests": [{"less": {"method": "a"}}]}, "less takes less and than"),
    ({"tests": [{}]}, "give exactly one of less, close"),
    ({"tests": [{"order": [{"method": "a"}, {"method": "b"}], "than": {"method": "a"}}]}, "order takes order"),
    ({"at": {}}, "at.nfe is needed"),
    ({"id": "A b"}, "String should match pattern"),
    ({"tests": []}, "at least 1 item"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_claim_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        claim(**changes)
