"""Who is best, in words that say no more than the tests do."""

import numpy as np
import pytest

from fewstep.reports import leaderboard
from fewstep.reports.timing import seconds_per_image
from fewstep.reports.verdicts import verdicts


@pytest.fixture
def said(run_folder, row):
    def say(values, blocks=None, metric="fd_digits", **changes):
        """values: method -> one value per seed; blocks: method -> the values without each block."""
        rows, kept = [], []
        for method, found in values.items():
            for seed, value in enumerate(found):
                cell = f"{method}{seed}"
                rows.append(
                    row(method, seed, value, nfe=4, metric=metric, cell=cell, seconds_per_image="0.0009", **changes)
                )
                if blocks:
                    text = " ".join(map(repr, blocks[method]))
                    kept.append({"cell": cell, "metric": metric, "without": text})
        folder = run_folder("run", rows, kept)
        return verdicts(leaderboard.read(folder), metric, seconds_per_image(folder))

    return say


def test_a_clear_winner_is_ahead_beyond_doubt(said):
    (line,) = said({"unipc-3": [5.0, 5.1, 5.2], "euler": [9.0, 9.1, 9.2]})
    first = "at 4 evaluations: unipc-3, FD (digits) 5.10 ± 0.10, ahead of euler (9.10 ± 0.10) beyond doubt"
    assert line == f"{first}; 0.9 ms per image"


def test_what_the_test_cannot_part_is_not_parted(said):
    (line,) = said({"unipc-3": [5.0, 5.4, 5.2], "dpmpp-2m": [5.4, 5.2, 5.3], "euler": [9.0, 9.1, 9.2]})
    assert line.startswith("at 4 evaluations: unipc-3 (5.20 ± 0.20) and dpmpp-2m (5.30 ± 0.10)")
    assert "euler" not in line
    assert "cannot be told apart in FD (digits)" in line


def test_one_seed_without_a_jackknife_is_never_beyond_doubt(said):
    (line,) = said({"unipc-3": [5.0], "euler": [9.0]})
    assert "beyond doubt" not in line
    assert "by one seed, which cannot tell how surely" in line


def test_one_seed_with_a_jackknife_is_tested_over_its_noises(said):
    noise = 0.001 * np.random.default_rng(0).normal(size=20)
    blocks = {"unipc-3": (5 + noise).tolist(), "euler": (9 + noise).tolist()}
    (line,) = said({"unipc-3": [5.0], "euler": [9.0]}, blocks)
    assert "ahead of euler (9.00 ± 0.00) beyond doubt" in line


def test_higher_is_better_where_it_is(said):
    (line,) = said({"unipc-3": [0.9, 0.91, 0.92], "euler": [0.5, 0.51, 0.52]}, metric="precision")
    assert line.startswith("at 4 evaluations: unipc-3, precision 0.910 ± 0.010, ahead of euler")


def test_an_nfe_without_a_value_has_its_reason(said):
    (line,) = said({"unipc-3": [None]}, status="failed: out of memory")
    assert line == "at 4 evaluations: no value of fd_digits: failed: out of memory"
