"""The committed board of scenes says what its page says of guidance and of students."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from fewstep.reports import leaderboard
from fewstep.reports.significance import differing

BOARD = Path(__file__).parent.parent / "leaderboards" / "scenes"
SCORE, DISTANCE = "clip_scenes", "fd_scenes"
STUDENTS = ("consistency", "boot", "knowledge", "sim", "diff-instruct")


@pytest.fixture(scope="module")
def board():
    """(method, scale of guidance, NFE) -> entry."""
    found = leaderboard.read(BOARD).entries
    return {(entry.method, int(entry.teacher.removeprefix("w = ")), entry.nfe): entry for entry in found}


def mean(entry, metric):
    return sum(entry.values[metric].values()) / len(entry.values[metric])


def told_apart(metric, *entries):
    """Which of the entries differ beyond the error over noises and seeds, (entries, entries)."""
    seeds = sorted(entries[0].values[metric])
    values = np.array([[entry.values[metric][seed] for seed in seeds] for entry in entries])
    return differing(values, np.array([[entry.without[metric][seed] for seed in seeds] for entry in entries]))


def test_guidance_raises_the_score_beyond_its_error(board):
    guided = [board["dpmpp-2m", scale, 8] for scale in (0, 1, 2, 4)]
    none, conditional, twice, four_times = (mean(entry, SCORE) for entry in guided)
    assert four_times > twice > conditional + 5
    assert conditional + 5 > none + 30
    assert (told_apart(SCORE, *guided) == ~np.eye(4, dtype=bool)).all()


def test_more_guidance_than_one_takes_samples_away_from_the_pictures(board):
    distances = [mean(board["dpmpp-2m", scale, 8], DISTANCE) for scale in (1, 2, 4)]
    assert distances == sorted(distances)
    assert distances[2] > 1.5 * distances[0]


@pytest.mark.parametrize("scale", [0, 1, 2, 4])
def test_every_doubling_of_eulers_steps_comes_nearer_on_every_seed(board, scale):
    for seed in (0, 1):
        fd = [board["euler", scale, nfe].values[DISTANCE][seed] for nfe in (1, 2, 4, 8)]
        assert all(more < less for less, more in itertools.pairwise(fd))


def test_one_step_students_are_told_apart_from_the_untrained_one_and_from_each_other(board):
    """The untrained student is the conditional teacher, whose one step is Euler's."""
    students = [board[method, 2, 1] for method in STUDENTS]
    entries = [board["euler", 1, 1], *students]
    by_score, by_distance = told_apart(SCORE, *entries), told_apart(DISTANCE, *entries)
    assert by_score[0, 1:].all()
    assert by_distance[0, 1:].all()
    assert all(mean(student, SCORE) > mean(entries[0], SCORE) + 5 for student in students)
    assert ((by_score | by_distance) == ~np.eye(len(entries), dtype=bool)).all()


def test_all_rows_have_the_same_captions_and_the_same_number_of_samples(board):
    protocols = {entry.protocols[SCORE] for entry in board.values()}
    assert len(protocols) == 1
    assert {entry.samples[SCORE] for entry in board.values()} == {800}
