"""The rule that chooses small-scale defaults, and what it has chosen."""

import csv
import math
from collections import defaultdict

import pytest

from fewstep.bench.commands.catalogue import find
from fewstep.bench.commands.chosen import chosen
from fewstep.bench.commands.pages import page
from fewstep.bench.suite.loading import load
from fewstep.leaderboards import defaults
from fewstep.leaderboards.defaults import Choice, Point, choices, lowest, missing, points, widening
from fewstep.methods.registry import METHODS

RATES, STEPS = (1e-3, 3e-3, 1e-2), (16, 32)


def grid(distances, own="start_steps", values=STEPS, wider=False):
    """distances: (rate, value) -> distance; 1 elsewhere."""
    return [
        Point((("learning_rate", rate), (own, value)), distances.get((rate, value), 1.0), wider)
        for value in values
        for rate in RATES
    ]


def test_the_lowest_distance_wins_and_the_smaller_rate_where_two_are_equal():
    assert lowest(grid({(3e-3, 32): 0.2})).options == (("learning_rate", 3e-3), ("start_steps", 32))
    assert lowest(grid({(1e-2, 16): 0.2, (3e-3, 32): 0.2})).options[0] == ("learning_rate", 3e-3)
    assert lowest(grid({(1e-3, 16): math.inf, (3e-3, 16): 0.9})).options[0] == ("learning_rate", 3e-3)


@pytest.mark.parametrize(
    ("own", "values", "best", "added"),
    [
        ("start_steps", (16, 32, 64), (3e-3, 32), []),
        ("start_steps", (16, 32), (3e-3, 32), [(3e-3, 64)]),
        ("start_steps", (16, 32), (1e-2, 16), [(3e-2, 16), (1e-2, 8)]),
        ("start_steps", (16, 32, 64), (1e-3, 32), [(3e-4, 32)]),
        ("grid_points", (18, 40), (3e-3, 40), [(3e-3, 89)]),
        ("ema", (0.99, 0.999), (3e-3, 0.999), [(3e-3, 0.9999)]),
        ("ema", (0.99, 0.999), (3e-3, 0.99), [(3e-3, 0.9)]),
        ("self_teacher_ema", (0.5, 0.9), (3e-3, 0.5), []),
        ("fake_learning_rate", (3e-4, 1e-3), (3e-3, 3e-4), [(3e-3, 1e-4)]),
        ("r", (0, 1), (3e-3, 0), []),
    ],
)
def test_a_choice_on_the_edge_adds_one_point_beyond_it(own, values, best, added):
    found = widening(grid({best: 0.1}, own, values))
    assert [tuple(options.values()) for options in found] == added


def test_the_grid_is_widened_once():
    first = grid({(1e-2, 16): 0.2}, values=(8, 16, 32))
    assert missing({"progressive": first}) == [("progressive", {"learning_rate": 3e-2, "start_steps": 16})]
    beyond = Point((("learning_rate", 3e-2), ("start_steps", 16)), 0.1, wider=True)
    assert missing({"progressive": [*first, beyond]}) == []
    (choice,) = choices({"progressive": [*first, beyond]})
    assert choice == Choice("progressive", beyond, 10, 0.2)


def test_points_are_means_over_seeds_and_a_seed_that_failed_counts():
    suite = load(defaults.SUITE)
    entry = next(entry for entry in suite.methods if entry.name == "progressive")
    row = {"metric": "fd_law", "method": entry.name, "variant": entry.label(), "status": "done", "corrected": "0.4"}
    (point,) = points(suite, [row, {**row, "corrected": "0.2"}, {**row, "metric": "rmse"}])["progressive"]
    assert point.distance == pytest.approx(0.3)
    assert point.options == tuple(entry.options.items())
    (point,) = points(suite, [row, {**row, "status": "failed", "corrected": ""}])["progressive"]
    assert point.distance == math.inf


def test_every_trained_method_has_a_grid_of_at_most_eight_points_and_two_options():
    entries = [entry for entry in load(defaults.SUITE).methods if entry.spec.trains]
    assert {entry.name for entry in entries} == {name for name, spec in METHODS.items() if spec.trains}
    for name in METHODS:
        rows = [e for e in entries if e.name == name and not (e.variant or "").startswith(defaults.WIDER)]
        values = [dict.fromkeys(entry.options) for entry in rows]
        assert len(rows) <= 8
        assert all(len(options) == 2 and options == values[0] for options in values)
        if "learning_rate" in METHODS[name].options.model_fields and rows:
            assert "learning_rate" in values[0]


def test_every_choice_is_the_rules_on_the_committed_results():
    found = defaults.results(defaults.CHOSEN.parent / "defaults")
    assert missing(found) == []
    with defaults.CHOSEN.open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert written == [
        {key: str(value) for key, value in row.items()} for choice in choices(found) for row in choice.rows()
    ]


@pytest.mark.parametrize("method", [name for name, spec in METHODS.items() if spec.trains])
def test_every_default_is_what_was_chosen(method):
    options = METHODS[method].options().model_dump()
    found = chosen(method)
    assert len(found) == 2
    for option, value in found.items():
        outer, _, inner = option.partition(".")
        assert float(value) == (options[outer][inner] if inner else options[outer])


@pytest.mark.parametrize("suite", ["claims", "claims-tuned", "digits", "distillation", "cifar10-cpu"])
def test_boards_take_what_was_chosen_unchanged(suite):
    """Each method that is trained has a row whose chosen options are left as they are."""
    rows = defaultdict(list)
    for entry in load(suite).methods:
        if entry.spec.trains:
            inside = {name: value for name, value in entry.options.items() if isinstance(value, dict)}
            given = {*entry.options, *(f"{name}.{key}" for name, value in inside.items() for key in value)}
            rows[entry.name].append(chosen(entry.name).keys() & given)
    assert all(set() in touched for touched in rows.values()), rows


def test_show_says_where_defaults_come_from():
    shown = page(find("boot", "method")[0])
    (fact,) = [fact for fact in shown.facts if fact.key == "defaults"]
    assert fact.value == chosen("boot")
    assert "suite `defaults`" in fact.lines[0]
    said = {option.name: "Chosen by the suite `defaults`" in option.description for option in shown.options}
    assert [name for name, from_suite in said.items() if from_suite] == list(chosen("boot"))
    assert "Chosen by the suite `defaults`" in str(page(find("consistency-training", "method")[0]).options)
