"""Scoreboards: what papers print of few-step sampling on one data set, verified first, never ranked with ours."""

import pytest

from fewstep.reports import formats
from fewstep.reports.published.collection import collection
from fewstep.reports.published.scoreboard import FREE, SCOREBOARDS, rows, table, whose

from ..bench.in_process import call, is_one_line


@pytest.mark.parametrize("name", sorted(SCOREBOARDS))
def test_a_scoreboard_has_every_published_fid_at_four_evaluations_or_fewer(name):
    dataset = SCOREBOARDS[name]
    found = [row for row in collection() if row.dataset == dataset and row.metric == "FID"]
    assert rows(dataset) == [row for row in found if row.nfe in ("1", "2", "3", "4")]
    shown = " ".join(str(cell) for line in table(dataset).rows for cell in line)
    assert {row.method for row in rows(dataset) if row.method not in shown} == set()
    assert {row.shown for row in rows(dataset) if row.shown not in shown} == set()


@pytest.mark.parametrize("name", sorted(SCOREBOARDS))
def test_its_groups_are_by_images_needed_then_by_teacher_and_the_verified_come_first(name):
    made = table(SCOREBOARDS[name])
    order = [list(FREE.values()).index(group.title.partition(": ")[0]) for group in made.groups]
    assert order == sorted(order)
    assert len({group.title for group in made.groups}) == len(made.groups)
    for group in made.groups:
        remembered = [any(cell.muted for cell in line) for line in group.rows]
        assert remembered == sorted(remembered)
    assert any(cell.muted and str(cell).startswith("(") for line in made.rows for cell in line)


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        ("edm-cifar10-32x32-uncond-vp", "EDM"),
        ("EDM2-XL (init)", "EDM2"),
        ("EDM / EDM2 (init)", "EDM or EDM2"),
        ("none (trained from scratch)", "no teacher"),
        ("PD paper checkpoint", "progressive distillation's networks"),
        ("DDIM/score teacher", "other teachers"),
        ("", "teacher not stated"),
    ],
)
def test_teachers_are_grouped_by_whose_network_they_are(teacher, expected):
    assert whose(teacher) == expected


def test_another_data_set_has_none():
    with pytest.raises(ValueError, match="no published FID on 'MNIST'"):
        table("MNIST")


def test_the_command_prints_it_and_says_that_nothing_runs_it():
    for place in ("scoreboard-imagenet64", "papers/scoreboard-imagenet64"):
        result = call("leaderboard", place)
        assert result.exit_code == 0
        assert result.output == formats.write(table("ImageNet-64"), "table") + "\n"
    said = call("leaderboard", "scoreboard-cifar10", "--format", "csv").output.splitlines()
    assert len(said) == 1 + len(rows("CIFAR-10"))
    run, filtered = call("run", "scoreboard-cifar10"), call("leaderboard", "scoreboard-cifar10", "--nfe", "1")
    assert is_one_line(run)
    assert "no suite; `fewstep leaderboard scoreboard-cifar10` prints it" in run.stderr
    assert is_one_line(filtered)
    assert "of the options it has --format alone" in filtered.stderr
