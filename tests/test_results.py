"""The committed results say what the README and the leaderboards' page say of them."""

from pathlib import Path

import pytest

from fewstep.reports import leaderboard

BOARDS = Path(__file__).parent.parent / "leaderboards"


def values(suite, metric):
    """(method, variant, budget, nfe) -> {seed: value}."""
    board = leaderboard.read(BOARDS / suite)
    return {
        (entry.method, entry.variant, entry.budget, entry.nfe): entry.values[metric]
        for entry in board.entries
        if entry.values.get(metric)
    }


@pytest.fixture(scope="module")
def learned():
    return values("learned-solvers", "rmse")


FULL = "100000 evaluations"


@pytest.mark.parametrize("nfe", [4, 8, 10])
def test_bespoke_more_than_halves_the_rmse_of_plain_rk2(learned, nfe):
    """On three seeds of digits, by the loss on the end point; the bound's mean is at half or below."""
    plain = learned["runge-kutta", "RK2", "0", nfe]
    end, bound = (learned["bespoke", variant, FULL, nfe] for variant in ("rmse loss", "bound"))
    assert set(plain) == {0, 1, 2}
    assert all(end[seed] < 0.5 * plain[seed] for seed in plain)
    assert sum(bound.values()) <= 0.51 * sum(plain.values())


BASES = {
    "ddim": ("euler", "base"),
    "ddim on eps": ("euler", "base"),
    "EDM grid": ("euler", "EDM grid"),
    "ipndm": ("ipndm", "base"),
    "deis-tab3": ("deis-tab3", "base"),
    "dpm-solver-2": ("dpm-solver-2", "base"),
    "heun": ("heun", "base"),
}


@pytest.mark.parametrize("variant", BASES)
def test_every_d_variant_is_nearer_to_the_truth_than_its_base(learned, variant):
    compared = 0
    for nfe in (4, 5, 6, 8, 9, 10):
        own, base = (learned.get(key) for key in (("d-ode", variant, FULL, nfe), (*BASES[variant], "0", nfe)))
        if own and base:
            compared += 1
            assert all(own[seed] < base[seed] for seed in (0, 1, 2)), nfe
    assert compared >= 2
