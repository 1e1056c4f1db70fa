"""The figure of a distance against a score: which points it joins, and what it refuses."""

import csv
import json
from dataclasses import replace

import pytest

from fewstep.reports import figures
from fewstep.reports.leaderboard import read
from fewstep.reports.run_folder import FACTS, METHODS, Method, Metric, methods_json

METRICS = {
    "fd_scenes": Metric("FD (scenes)", "a distance", False, 400, True),
    "clip_scenes": Metric("CLIP score (scenes)", "a score", True, 400),
    "rmse": Metric("RMSE", "another", log_scale=True),
}
KINDS = {"euler": "solver", "dpmpp-2m": "solver", "boot": "student", "sim": "student", "knowledge": "student"}
SOLVERS = {
    ("dpmpp-2m", 8): {0: (1.75, 0.0540), 1: (56.43, 0.0288), 2: (70.89, 0.0332), 4: (74.74, 0.0620)},
    ("euler", 1): {0: (1.1, 1.9), 1: (8.83, 1.4485), 2: (17.38, 1.1412), 4: (26.0, 1.02)},
    ("euler", 2): {0: (1.2, 0.61), 1: (47.01, 0.4016), 2: (64.32, 0.1697), 4: (69.9, 0.21)},
    ("euler", 4): {0: (1.5, 0.21), 1: (53.0, 0.11), 2: (69.37, 0.0660), 4: (73.5, 0.091)},
}
STUDENTS = {"knowledge": (56.9, 0.108), "sim": (57.0, 0.141), "boot": (21.5, 1.04)}
"""(score, distance) by scale of guidance; students of the teacher at scale 2."""


@pytest.fixture
def folder(row, run_folder):
    """make(**columns of every row) -> the results of solvers at four scales, two seeds each, and of students at one."""

    def make(name="scenes", scales=(4, 0, 2, 1), **changes):
        rows = []
        for scale in scales:
            own = {key: line[scale] for key, line in SOLVERS.items()}
            own |= {(name, 1): values for name, values in STUDENTS.items() if scale == 2}
            for (method, nfe), (score, distance) in own.items():
                where = {"dataset": "scenes", "teacher": f"w = {scale}", "nfe": nfe, **changes}
                where["budget"] = "30000 evaluations" if method in STUDENTS else "0"
                for seed in (0, 1):
                    rows.append(row(method, seed, score * (1 + 0.01 * seed), metric="clip_scenes", **where))
                    rows.append(row(method, seed, distance * (1 + 0.05 * seed), metric="fd_scenes", **where))
        made = run_folder(name, rows, facts=METRICS)
        (made / FACTS).write_text(json.dumps({"guidance": {f"w = {scale}": scale for scale in scales}}))
        (made / METHODS).write_text(methods_json({name: Method(name, kind) for name, kind in KINDS.items()}))
        return made

    return make


def lines(figure):
    """The joined means of the figure, as they are drawn."""
    return [tuple(container.lines[0].get_xydata().tolist()) for container in figure.axes[0].containers]


def test_a_solver_is_joined_in_the_order_of_guidance_and_a_student_is_a_point(folder):
    drawn = lines(figures.figure([folder()], "tradeoff", metric="fd_scenes"))
    assert sorted(map(len, drawn)) == [1, 1, 1, 4, 4, 4, 4]
    (exact,) = (line for line in drawn if len(line) == 4 and line[1][0] == pytest.approx(56.43 * 1.005))
    assert [x for x, _ in exact] == pytest.approx([1.005 * SOLVERS["dpmpp-2m", 8][w][0] for w in (0, 1, 2, 4)])
    assert [y for _, y in exact] == pytest.approx([1.025 * SOLVERS["dpmpp-2m", 8][w][1] for w in (0, 1, 2, 4)])


def test_axes_say_which_way_is_better_and_points_their_scale(folder):
    figure = figures.figure([folder()], "tradeoff", metric="fd_scenes")
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("CLIP score (scenes) ↑", "FD (scenes) ↓")
    texts = {text.get_text() for text in axes.texts}
    assert {"boot 1", "sim 1", "knowledge 1", "dpmpp-2m 8", "0", "1", "2", "4"} <= texts


def test_the_other_metric_is_the_first_of_the_other_direction(folder):
    (axes,) = figures.figure([folder()], "tradeoff", metric="clip_scenes").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("FD (scenes) ↓", "CLIP score (scenes) ↑")


def test_one_problem_is_points_alone(folder):
    drawn = lines(figures.figure([folder()], "tradeoff", metric="fd_scenes", teacher="w = 2"))
    assert [len(line) for line in drawn] == [1] * 7


def test_what_it_cannot_draw_is_refused_in_one_line(folder, row, run_folder, monkeypatch):
    one = folder("one", scales=(1, 2))
    other = folder("other", scales=(1, 2), dataset="others")
    with pytest.raises(ValueError, match="several data sets: choose one with --dataset"):
        figures.figure([one, other], "tradeoff", metric="fd_scenes")
    same = {name: replace(metric, higher_is_better=False) for name, metric in METRICS.items()}
    with pytest.raises(ValueError, match="no metric to draw fd_digits against"):
        figures.figure([run_folder("alike", [row("euler", 0, 1.0)], facts=same)], "tradeoff")


def test_a_report_draws_it_once_for_all_scales_of_a_data_set(folder, run_folder, row):
    made = folder()
    names = [name for name, _ in figures.shown(read(made), {"scenes": made})]
    assert names[0] == "tradeoff_clip_scenes"
    assert sum(name.startswith("tradeoff") for name in names) == 1
    alike = run_folder("alike", [row("euler", 0, 1.0, teacher=teacher) for teacher in ("one", "other")])
    assert not any(name.startswith("tradeoff") for name, _ in figures.shown(read(alike), {"alike": alike}))


def test_teachers_of_one_scale_are_no_tradeoff(folder):
    made = folder(scales=(1, 2))
    facts = json.loads((made / FACTS).read_text())
    (made / FACTS).write_text(json.dumps(facts | {"guidance": {"w = 1": 2, "w = 2": 2}}))
    assert not any(name.startswith("tradeoff") for name, _ in figures.shown(read(made), {"scenes": made}))


def test_a_row_whose_score_is_infinite_is_left_out(folder):
    made = folder()
    results = made / "results.csv"
    with results.open() as file:
        rows = list(csv.DictReader(file))
    for one in rows:
        if one["method"] == "euler" and one["nfe"] == "1" and one["metric"] == "clip_scenes":
            one["value"] = "inf"
    with results.open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    drawn = lines(figures.figure([made], "tradeoff", metric="fd_scenes"))
    assert sorted(map(len, drawn)) == [1, 1, 1, 4, 4, 4]
