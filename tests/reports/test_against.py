"""A paper's table beside a run: which cells meet, what is said of them, and what is never said."""

import dataclasses
import json

import pytest

from fewstep.reports import formats, leaderboard
from fewstep.reports.errors import DamagedError
from fewstep.reports.published.against import BESIDE, Beside, frame, lines, read, tables
from fewstep.reports.published.judgement import Verdict
from fewstep.reports.run_folder import PUBLISHED

PROBLEM = {
    "dataset": "cifar10",
    "teacher": "edm-cifar10-32x32-uncond-vp",
    "family": "edm",
    "references": {"fid": "cifar10-32x32"},
    "published": {"dataset": "CIFAR-10", "conditioning": "uncond"},
}
EULER = {"method": "euler", "variant": "", "published": {"method": "Euler", "solver_or_variant": None}}
PROTOCOL = {"samples": "50000", "labels": "uniform", "rounding": "round"}


def beside(**changes) -> Beside:
    stated = Beside("diffsampler", "README FID table", [PROBLEM], [EULER], PROTOCOL)
    return dataclasses.replace(stated, **changes)


@pytest.fixture
def board(run_folder, row):
    def make(values, **changes):
        place = {"dataset": "cifar10", "teacher": PROBLEM["teacher"], "metric": "fid"} | changes
        rows = [row("euler", s, v, nfe=nfe, **place) for nfe, own in values.items() for s, v in enumerate(own)]
        return leaderboard.read(run_folder("run", rows))

    return make


def verdicts(stated, made):
    """NFE -> the verdict, of Euler on CIFAR-10."""
    return {
        line.row.nfe: line.judged.verdict
        for line in lines(stated, made)
        if (line.row.dataset, line.row.method) == ("CIFAR-10", "Euler")
    }


# As published: 93.36 at 3, 66.76 at 4, 15.69 at 10.
MEASURED = {3: [93.3, 93.4, 93.5], 4: [67.8, 67.9, 67.85], 10: [15.68, 15.69, 15.71]}


def test_a_cell_stands_beside_the_published_number_of_its_row_and_nfe(board):
    found = verdicts(beside(), board(MEASURED))
    assert (found["3"], found["4"], found["10"]) == (Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.REPRODUCED)
    assert found["5"] is Verdict.NOT_RUN


def test_rows_that_the_suite_has_not_are_quoted(board):
    made = board(MEASURED)
    for line in lines(beside(), made):
        if line.row.method != "Euler" or line.row.dataset != "CIFAR-10":
            assert line.judged.verdict is Verdict.QUOTED
    assert set(verdicts(beside(rows=[]), made).values()) == {Verdict.QUOTED}


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"problems": [PROBLEM | {"family": "openai"}]}, Verdict.TEACHER_DIFFERS, "the paper's one of EDM"),
        (
            {"problems": [PROBLEM | {"references": {}}]},
            Verdict.PROTOCOL_DIFFERS,
            "reference of our own, the paper's is EDM's",
        ),
        ({"protocol": PROTOCOL | {"samples": "5000"}}, Verdict.PROTOCOL_DIFFERS, "samples 5000, the paper's 50000"),
        ({"protocol": PROTOCOL | {"labels": "data"}}, Verdict.PROTOCOL_DIFFERS, "labels data, the paper's uniform"),
        ({"rows": [EULER | {"own_settings": True}]}, Verdict.SETTINGS_DIFFER, "does not print its settings"),
        ({"rows": [EULER | {"trained_share": 0.1}]}, Verdict.BUDGET_DIFFERS, "10 % of what the paper used"),
        ({"smoke": True}, Verdict.SMOKE, "random weights"),
    ],
)
def test_what_differs_is_said_and_nothing_is_then_reproduced(board, changes, verdict, reason):
    stated = beside(**changes)
    (line,) = [one for one in lines(stated, board(MEASURED)) if one.row.method == "Euler" and one.row.nfe == "10"][:1]
    assert line.judged.verdict is verdict
    assert reason in line.judged.reason


def test_a_metric_that_the_suite_does_not_measure_and_a_cell_that_failed_say_so(board):
    (line,) = [one for one in lines(beside(), board(MEASURED, metric="kid")) if one.ours is None][:1]
    assert line.judged.reason == "the suite does not measure FID"
    made = board({10: [None]}, status="failed: out of memory")
    (line,) = [one for one in lines(beside(), made) if one.row.nfe == "10" and one.entry is not None]
    assert (line.judged.verdict, line.judged.reason) == (Verdict.NOT_RUN, "failed: out of memory")


def test_without_a_run_the_table_is_the_papers_alone():
    (table, *_) = tables(beside(), None)
    text = formats.write(table, "table", 80)
    assert "93.36" in text
    assert " | " not in text.replace("published | measured", "")
    assert "no cell can be compared" in text


def test_the_table_shows_ours_the_difference_and_the_verdict(board):
    (table, *_) = tables(beside(), board(MEASURED))
    (euler,) = [row for row in table.rows if row[0].text == "Euler"]
    assert str(euler[1]) == "93.36 | 93.40 ± 0.10 +0.0 % reproduced"
    assert str(euler[2]) == "66.76 | 67.85 ± 0.05 +1.6 % differs, close"
    assert [group.title for group in table.groups] == ["rows of the suite", "quoted"]
    assert table.notes[0].startswith("2 of 3 comparable cells reproduced, 2.85 expected")


def test_the_frame_has_a_row_for_every_published_number(board):
    rows = frame(beside(), board(MEASURED))
    (found,) = [r for r in rows if r["dataset"] == "CIFAR-10" and r["method"] == "Euler" and r["nfe"] == "4"]
    assert found["published_value"] == 66.76
    assert found["difference"] == pytest.approx(67.85 / 66.76 - 1)
    assert (found["verdict"], found["smoke"]) == ("differs", 0)


def test_what_a_run_states_is_read_back_and_damage_is_one_line(tmp_path):
    assert read(tmp_path) is None
    (tmp_path / PUBLISHED).write_bytes(BESIDE.dump_json(beside()))
    assert read(tmp_path) == beside()
    for text in ("[]", "{", json.dumps({"paper": 3})):
        (tmp_path / PUBLISHED).write_text(text)
        with pytest.raises(DamagedError, match=f"{PUBLISHED}: not as fewstep writes it"):
            read(tmp_path)


CM = {
    "dataset": "imagenet64-adm",
    "teacher": "edm_imagenet64_ema",
    "family": "openai",
    "references": dict.fromkeys(("fid", "inception_precision", "inception_recall"), "VIRTUAL_imagenet64_labeled"),
    "published": {"dataset": "ImageNet-64", "conditioning": "class"},
}
RELEASED = {"method": "student", "variant": "ct_imagenet64", "published": {"method": "Consistency training"}}
TRUNCATED = {"samples": "50000", "labels": "uniform", "rounding": "truncate"}


def test_a_released_student_meets_its_row_though_the_network_is_its_own(run_folder, row):
    stated = Beside("cm", "Table 2", [CM], [RELEASED], TRUNCATED)
    place = {"dataset": "imagenet64-adm", "teacher": "ct_imagenet64", "variant": "ct_imagenet64", "budget": "-"}
    rows = [
        row("student", s, value + 0.001 * s, nfe=1, metric=metric, **place)
        for metric, value in (("fid", 13.0), ("inception_precision", 0.71), ("inception_recall", 0.47))
        for s in range(3)
    ]
    made = leaderboard.read(run_folder("run", rows))
    found = {
        line.row.metric: line.judged.verdict
        for line in lines(stated, made)
        if line.row.method == "Consistency training" and line.row.nfe == "1" and line.row.dataset == "ImageNet-64"
    }
    assert found == dict.fromkeys(("FID", "precision", "recall"), Verdict.REPRODUCED)


def test_an_exact_solution_meets_its_row_at_the_nfe_that_it_took(run_folder, row):
    problem = PROBLEM | {"published": {"dataset": "CIFAR-10", "conditioning": "uncond", "teacher": "eps-VP (own)"}}
    truth = {"method": "ground-truth", "variant": "", "measured_nfe": True, "published": {"method": "RK45"}}
    rows = [row("ground-truth", s, 2.0, nfe=140, metric="fid", dataset="cifar10", teacher=PROBLEM["teacher"],
                budget="-") for s in range(3)]  # fmt: skip
    made = leaderboard.read(run_folder("run", rows))
    (line,) = [one for one in lines(Beside("bespoke", "Table 3", [problem], [truth], PROTOCOL), made) if one.entry]
    assert (line.row.method, line.row.nfe, line.entry.nfe) == ("RK45", "", 140)


def test_a_table_that_tells_networks_apart_in_its_rows_meets_the_network_of_each(run_folder, row):
    problems = [
        PROBLEM | {"teacher": f"{config}-vp", "published": PROBLEM["published"] | {"solver_or_variant": [named]}}
        for config, named in (("a", "config A baseline, VP"), ("f", "config F final, VP"))
    ]
    own = {"method": "heun", "variant": "", "published": {"method": "EDM"}}
    place = {"dataset": "cifar10", "nfe": 35, "metric": "fid"}
    rows = [row("heun", s, v, teacher=f"{t}-vp", **place) for t, v in (("a", 3.0), ("f", 2.0)) for s in range(3)]
    made = leaderboard.read(run_folder("run", rows))
    found = lines(Beside("edm", "Table 2", problems, [own], PROTOCOL), made)
    assert {line.row.solver_or_variant: line.ours.mean for line in found if line.ours} == {
        "config A baseline, VP": 3.0,
        "config F final, VP": 2.0,
    }


def test_a_row_at_an_nfe_that_the_suite_does_not_have_is_quoted(board):
    found = verdicts(beside(rows=[EULER | {"nfe": [3, 10]}]), board({3: [93.3, 93.4, 93.5]}))
    assert (found["3"], found["4"], found["10"]) == (Verdict.REPRODUCED, Verdict.QUOTED, Verdict.NOT_RUN)


def test_a_number_whose_nfe_the_paper_does_not_print_meets_a_row_that_has_one(run_folder, row):
    problem = PROBLEM | {"family": "flax-pd"}
    named = "predict x, weight truncated SNR, DDIM sampler"
    ddim = {"method": "euler", "variant": "", "published": {"method": "DDPM base", "solver_or_variant": [named]}}
    place = {"dataset": "cifar10", "teacher": PROBLEM["teacher"], "metric": "fid", "nfe": 1024}
    made = leaderboard.read(run_folder("run", [row("euler", s, 2.5, **place) for s in range(3)]))
    for nfes, met in (([1024], True), ([512, 1024], False)):
        found = lines(Beside("pd", "Table 1", [problem], [ddim | {"nfe": nfes}], PROTOCOL), made)
        assert any(line.entry is not None for line in found) is met


def test_numbers_from_memory_are_grey_in_every_format_and_never_compared(run_folder, row):
    """BOOT's Table 1 on FFHQ: DDIM at 10 is remembered."""
    problem = PROBLEM | {"dataset": "ffhq64", "published": {"dataset": "FFHQ-64", "conditioning": "uncond"}}
    ddim = {"method": "ddim", "variant": "", "published": {"method": "DDIM"}}
    place = {"dataset": "ffhq64", "teacher": PROBLEM["teacher"], "metric": "fid", "nfe": 10}
    made = leaderboard.read(run_folder("run", [row("ddim", s, 18 + s, **place) for s in range(3)]))
    stated = Beside("boot", "Table 1", [problem], [ddim], PROTOCOL)
    table = next(table for table in tables(stated, made) if table.key[1:] == ("FFHQ-64", "uncond", "FID"))
    (cell,) = [row[table.columns.index("NFE 10")] for row in table.rows if row[0].text == "DDIM"]
    assert cell.muted
    assert str(cell) == "18.3 (memory) | 19.00 ± 1.00 recalled"
    assert f"*{cell}*".replace("|", "\\|") in formats.write(table, "markdown")
    assert f'<i style="color: gray">{cell}</i>' in formats.write(table, "html")
    latex = formats.write(table, "latex")
    assert r"\recalled{18.3 (memory) \textbar{} 19.00" in latex
    assert r"\providecommand{\recalled}[1]" in latex


def test_a_number_that_was_not_read_in_its_paper_has_a_dagger():
    (table, *_) = tables(Beside("boot", "Table 2", [], []), None)
    latex = formats.write(table, "latex")
    assert r"4.38\secondary{}" in latex
    assert r"\providecommand{\secondary}{$^\dagger$}" in latex
    assert "U+2020" not in latex


def test_numbers_of_the_same_rows_in_another_papers_table_stand_in_a_table_of_their_own(board):
    made = tables(beside(also=[("gits", "Table (figure)")]), board(MEASURED))
    assert {table.key[0] for table in made} == {"diffsampler", "gits"}
    assert made[0].title.startswith("diffsampler, README FID table: FID on CIFAR-10 (uncond)")


def test_the_least_number_over_all_nfes_meets_ours_wherever_that_lies(run_folder, row):
    """EDM's table 3 prints 2.93 at 35, the smallest NFE within 3 % of the lowest FID."""
    problem = PROBLEM | {
        "teacher": "baseline",
        "published": PROBLEM["published"] | {"teacher": "VP (Score-SDE checkpoint)"},
    }
    name = "+ sigma(t)=t, s(t)=1 (EDM deterministic)"
    heun = {"method": "heun", "variant": "", "nfe": [13, 19, 27, 35, 79]}
    heun["published"] = {"method": "EDM sampler study", "solver_or_variant": [name]}
    place = {"dataset": "cifar10", "teacher": "baseline", "metric": "fid"}
    values = {13: 3.6, 19: 3.2, 27: 2.97, 35: 2.94, 79: 2.93}
    rows = [row("heun", s, v + 0.01 * (s - 1), nfe=nfe, **place) for nfe, v in values.items() for s in range(3)]
    table = "Table 3 (deterministic samplers, pre-trained models)"
    stated = beside(paper="edm", table=table, problems=[problem], rows=[heun])
    board = leaderboard.read(run_folder("run", rows))
    (line,) = [one for one in lines(stated, board) if one.entry is not None]
    assert (line.row.nfe, line.entry.nfe, line.ours.mean) == ("35", 79, pytest.approx(2.93))
    (found, *_) = tables(stated, board)
    assert "2.93 ± 0.01" in (text := formats.write(found, "html"))
    assert "(least at NFE 79, within 3 % from 27)" in text
    (line,) = [one for one in lines(stated, leaderboard.read(run_folder("one", rows[:3]))) if one.entry is not None]
    assert line.entry.nfe == 13
