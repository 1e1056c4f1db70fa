"""What changed between two runs, and what only seems to."""

import numpy as np
import pytest
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.reports import leaderboard
from fewstep.reports.compare import Verdict, changes


@pytest.fixture
def folder(run_folder, row):
    def make(name, values, scatter=None, **columns):
        """values: method -> one per seed. scatter: of the values without each block, around the value."""
        rows, blocks = [], []
        for method, found in values.items():
            for seed, value in enumerate(found):
                cell = f"{name}-{method}-{seed}"
                rows.append(row(method, seed, value, cell=cell, **columns))
                if scatter is not None:
                    without = (value + scatter * np.random.default_rng(len(name)).normal(size=20)).tolist()
                    blocks.append({"cell": cell, "metric": "fd_digits", "without": " ".join(map(repr, without))})
        return run_folder(name, rows, blocks)

    return make


def verdicts(old, new):
    found = changes(leaderboard.read(old), leaderboard.read(new))
    return {change.key.method: change.words for change in found}


def compare(*words):
    result = CliRunner().invoke(main, ["compare", *map(str, words)])
    return result.exit_code, result.stdout


def test_each_entry_is_better_worse_equal_or_within_its_error(folder):
    old = folder("a", {"up": [5.0, 5.1, 5.2], "down": [5.0, 5.1, 5.2], "same": [5.0, 5.1], "noisy": [5.0, 5.5, 6.0]})
    new = folder("b", {"up": [4.0, 4.2, 4.1], "down": [6.0, 6.2, 6.1], "same": [5.0, 5.1], "noisy": [5.3, 5.2, 6.1]})
    expected = {"up": "better", "down": "worse", "same": "equal", "noisy": "within error"}
    assert verdicts(old, new) == expected


def test_a_shift_within_the_noises_error_is_no_change(folder):
    old = folder("a", {"euler": [5.0]}, scatter=0.1)
    assert verdicts(old, folder("bb", {"euler": [5.05]}, scatter=0.1)) == {"euler": "within error"}
    assert verdicts(old, folder("bb", {"euler": [9.0]}, scatter=0.1)) == {"euler": "worse"}


def test_one_seed_without_a_jackknife_is_said_to_be_untested(folder):
    found = verdicts(folder("a", {"euler": [5.0]}), folder("b", {"euler": [4.0]}))
    assert found == {"euler": "better (one seed, not tested)"}


def test_a_higher_precision_is_better(folder):
    old = folder("a", {"euler": [0.5, 0.51, 0.52]}, metric="precision")
    assert verdicts(old, folder("b", {"euler": [0.7, 0.72, 0.71]}, metric="precision")) == {"euler": "better"}


def test_what_one_run_alone_has_is_said(folder):
    found = verdicts(folder("a", {"euler": [5.0], "heun": [3.0]}), folder("b", {"euler": [5.0], "iia": [2.0]}))
    assert found == {"euler": "equal", "heun": "only in A", "iia": "only in B"}


def test_runs_of_other_seeds_are_compared_by_their_errors(folder, run_folder, row):
    old = folder("a", {"euler": [5.0, 5.2, 5.1]})
    for value, expected in ((5.15, "within error"), (9.0, "worse")):
        rows = [row("euler", seed, value + 0.1 * (seed - 11), cell=str(seed)) for seed in (10, 11, 12)]
        assert verdicts(old, run_folder("b", rows)) == {"euler": expected}


def test_values_of_different_protocols_are_not_compared(folder):
    old = folder("a", {"euler": [5.0, 5.1]}, protocol="fd/old")
    new = folder("b", {"euler": [9.0, 9.1]}, protocol="fd/new")
    (change,) = changes(leaderboard.read(old), leaderboard.read(new))
    assert change.verdict is Verdict.PROTOCOLS
    code, text = compare(old, new, "--fail")
    assert code == 0
    assert "protocols differ: fd/old and fd/new" in text


def test_only_changes_are_printed_and_only_worse_ones_fail(folder):
    old = folder("a", {"up": [5.0, 5.1, 5.2], "down": [5.0, 5.1, 5.2], "same": [5.0, 5.1]})
    new = folder("b", {"up": [4.0, 4.2, 4.1], "down": [6.0, 6.2, 6.1], "same": [5.0, 5.1]})
    code, text = compare(old, new)
    assert code == 0
    assert "5.10 ± 0.06" in text
    assert "-1.00" in text
    assert "same" not in text
    assert text.splitlines()[-1] == "1 better, 1 worse, 1 equal"
    assert compare(old, new, "--fail")[0] == 1
    assert compare(new, new, "--fail") == (0, "3 equal\n")
    assert "same" in compare(old, new, "--all")[1]


def test_a_metric_that_no_run_has_is_one_line(folder):
    old = folder("a", {"euler": [5.0]})
    result = CliRunner().invoke(main, ["compare", str(old), str(old), "--metric", "fid"])
    assert result.exit_code == 2
    assert result.stderr == "fewstep: no metric 'fid' in these results; they have fd_digits\n"
