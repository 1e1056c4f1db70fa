"""Figures of a run that repeats a paper's table: what the paper prints, as hollow marks with their source."""

import dataclasses

import pytest
from matplotlib.colors import to_hex

from fewstep.reports import figures
from fewstep.reports.drawing import rendered
from fewstep.reports.figures.chosen import MARKERS, PUBLISHED
from fewstep.reports.published.against import BESIDE, Beside
from fewstep.reports.run_folder import PUBLISHED as FILE
from fewstep.reports.run_folder import Metric

FACTS = {"fid": Metric("FID", "a distance", False, 50_000, True)}
PLACE = {"dataset": "cifar10", "teacher": "edm"}
PROBLEM = {**PLACE, "family": "edm", "references": {}, "published": {"dataset": "CIFAR-10", "conditioning": "uncond"}}


def stated(key, table, names, **changes):
    rows = [{"method": ours, "variant": "", "published": {"method": theirs}} for ours, theirs in names.items()]
    return dataclasses.replace(Beside(key, table, [PROBLEM], rows), **changes)


SOLVERS = stated("diffsampler", "README FID table", {"euler": "Euler", "heun": "Heun"})
BOOT = Beside(
    "boot", "Table 2", [PROBLEM],
    [
        {"method": "boot", "variant": loss, "published": {"method": "BOOT", "solver_or_variant": [f"{loss} loss"]}}
        for loss in ("L2", "LPIPS")
    ],
)  # fmt: skip


@pytest.fixture
def drawn(run_folder, row):
    """(what stands beside, [(method, variant, nfe, value)], kind) -> the figure."""

    def make(beside, values, kind="nfe", width=5.5):
        budgets = {"boot": "400000 iterations"}
        rows = [
            row(method, seed, value, nfe=nfe, variant=variant, metric="fid", budget=budgets.get(method, "0"), **PLACE)
            for method, variant, nfe, value in values
            for seed in range(3)
        ]
        folder = run_folder("run", rows, facts=FACTS)
        (folder / FILE).write_bytes(BESIDE.dump_json(beside))
        return figures.figure([folder], kind, width=width)

    return make


def marks(figure):
    """(place, value, colour) of every hollow mark of the paper's."""
    lines = [line for axes in figure.axes for line in axes.lines if line.get_marker() == MARKERS[PUBLISHED]]
    return [(x, y, line.get_color()) for line in lines for x, y in zip(*line.get_data(), strict=True)]


def note(figure):
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


VALUES = [("euler", "", 3, 90.0), ("euler", "", 4, 66.0), ("heun", "", 4, 300.0), ("dpmpp-2m", "", 4, 40.0)]


def test_what_the_paper_prints_of_a_row_is_a_hollow_mark_in_its_colour_at_its_nfe(drawn):
    figure = drawn(SOLVERS, VALUES)
    found = {(x, y) for x, y, _ in marks(figure)}
    # As published: Euler 93.36 at 3 and 66.76 at 4, Heun 319.87 at 4.
    assert found == {(3, 93.36), (4, 66.76), (4, 319.87)}
    colours = {to_hex(colour) for x, y, colour in marks(figure) if y != 319.87}
    assert len(colours) == 1
    names = {text.get_text(): to_hex(text.get_color()) for axes in figure.axes for text in axes.texts}
    assert colours == {names["euler"]}


def test_the_source_is_in_the_note_and_the_marks_in_the_legend(drawn):
    said = note(drawn(SOLVERS, VALUES))
    assert "As published: diffsampler, README FID table." in said
    assert "as published" in said.replace("As published", "")
    assert "from memory" not in said


def test_numbers_from_memory_are_left_out_and_counted(drawn):
    """Of BOOT's Table 2, 4.38 with LPIPS was read somewhere, 6.88 with L2 is remembered."""
    values = [("boot", "L2", 1, 6.9), ("boot", "LPIPS", 1, 4.4), ("euler", "", 4, 9.0), ("euler", "", 8, 5.0)]
    for width in (5.5, 3.25):
        figure = drawn(BOOT, values, width=width)
        assert [y if width > 4 else x for x, y, _ in marks(figure)] == [4.38]
        assert "As published: boot, Table 2. Left out: 1 number from memory." in note(figure)


def test_the_axis_holds_what_the_paper_prints_however_far_from_ours(drawn):
    figure = drawn(SOLVERS, [(method, variant, nfe, value / 50) for method, variant, nfe, value in VALUES])
    low, high = figure.axes[0].get_ylim()
    assert all(low < y < high for _, y, _ in marks(figure))


def test_neither_a_rehearsal_nor_a_run_without_a_paper_has_marks(drawn, run_folder, row):
    assert marks(drawn(dataclasses.replace(SOLVERS, smoke=True), VALUES)) == []
    folder = run_folder("other", [row("euler", s, 3.0 + nfe, nfe=nfe) for s in range(3) for nfe in (2, 4)])
    figure = figures.figure([folder], "nfe")
    assert marks(figure) == []
    assert "ublished" not in note(figure)


def test_the_figures_of_a_report_have_them_too(drawn, tmp_path):
    from fewstep.reports import leaderboard

    single = drawn(SOLVERS, VALUES)
    folder = tmp_path / "run"
    reported = dict(figures.shown(leaderboard.read(folder), {"run": folder}))
    assert marks(reported["nfe_fid"]) == marks(single)
    assert rendered(reported["nfe_fid"], "svg") == rendered(single, "svg")
