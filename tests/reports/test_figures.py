"""Figures as a journal takes them: what they show, what they look like, and that the same runs give the same bytes."""

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from fewstep.reports import drawing, figures, leaderboard
from fewstep.reports.figures.chosen import NothingToDrawError

BOARDS = Path(__file__).parents[2] / "leaderboards"
DRAWN = {
    "nfe": "quickstart",
    "pareto": "digits",
    "flops": "quickstart",
    "budget": "tuned",
    "samples": "quickstart",
    "ablation": "sim-ablation",
    "learned": "quickstart",
    "training": "quickstart",
    "methods": "quickstart",
    "tradeoff": "scenes",
}
"""Kind -> a committed board that has it."""
COLUMN, PAGE = 3.25, 5.5
NARROW = ("nfe", "pareto", "budget", "samples", "methods", "tradeoff")
"""Kinds that are laid out differently in a column."""
ALL = [
    *((kind, board, PAGE) for kind, board in DRAWN.items()),
    *((kind, DRAWN[kind], COLUMN) for kind in NARROW),
    ("ablation", "tuned", PAGE),
    ("pareto", "learned-solvers", PAGE),
    ("nfe", "cifar10-32-smoke", PAGE),
    ("nfe", "claims-mixture-students", PAGE),
    ("nfe", "defaults", PAGE),
    ("nfe", "defaults", COLUMN),
]


@pytest.fixture(scope="module")
def draw():
    """(kind, board, width, what else) -> the figure; each once."""
    kept = {}

    def make(kind, board=None, width=PAGE, **what):
        key = kind, board or DRAWN[kind], width, *what.items()
        if key not in kept:
            kept[key] = figures.figure([BOARDS / (board or DRAWN[kind])], kind, width=width, **what)
        return kept[key]

    return make


def luminance(colour):
    return float(linear(colour) @ (0.2126729, 0.7151522, 0.0721750))


def linear(colour):
    values = np.asarray(colors.to_rgb(colour))
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


DEUTERANOPIA = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
PROTANOPIA = ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
"""Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB."""
XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))


def lab(colour, seen):
    """CIELAB of a colour as somebody sees it whom the matrix `seen` describes."""
    t = np.asarray(XYZ) @ np.clip(np.asarray(seen) @ linear(colour), 0, 1) / (0.95047, 1.0, 1.08883)
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_each_of_at_most_eight_colours_has_a_contrast_of_three_to_one_on_white():
    assert len(drawing.PALETTE) <= 8
    for colour in (*drawing.PALETTE, drawing.INK):
        assert 1.05 / (luminance(colour) + 0.05) >= 3.0, colour


@pytest.mark.parametrize(("seen", "least"), [(np.eye(3), 45), (DEUTERANOPIA, 31), (PROTANOPIA, 28)])
def test_any_two_colours_are_far_apart_to_everybody(seen, least):
    distances = [
        np.linalg.norm(lab(one, seen) - lab(two, seen)) for one, two in itertools.combinations(drawing.PALETTE, 2)
    ]
    assert least <= min(distances) < least + 2


def words(figure):
    """The texts that are seen, with their boxes in inches."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = {label for axes in figure.axes for label in _of_ticks(axes)} - {
        label for axes in figure.axes if axes.axison for label in _of_ticks_drawn(axes)
    }
    to_inches = figure.dpi_scale_trans.inverted()
    # An annotation's own extent has its leader in it, which may pass under other names.
    return [(t, Text.get_window_extent(t, renderer).transformed(to_inches)) for t in found if t not in hidden]


def _of_ticks(axes):
    ticks = [*axes.xaxis.majorTicks, *axes.yaxis.majorTicks, *axes.xaxis.minorTicks, *axes.yaxis.minorTicks]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


def _of_ticks_drawn(axes):
    ticks = [*axes.xaxis._update_ticks(), *axes.yaxis._update_ticks()]
    return [label for tick in ticks for label in (tick.label1, tick.label2)]


@pytest.mark.parametrize(("kind", "board", "width"), ALL)
def test_a_figure_fits_its_place_with_type_of_six_points_of_which_none_covers_another(draw, kind, board, width):
    figure = draw(kind, board, width)
    assert figure.get_figwidth() == width
    assert figure.get_figheight() <= 9.0
    boxes = words(figure)
    assert min(text.get_fontsize() for text, _ in boxes) >= 6.0
    for text, box in boxes:
        assert min(box.x0, box.y0) >= -0.01, text
        assert max(box.x1 - width, box.y1 - figure.get_figheight()) <= 0.01, text
    for (text, one), (other, two) in itertools.combinations(boxes, 2):
        across = min(one.x1, two.x1) - max(one.x0, two.x0)
        down = min(one.y1, two.y1) - max(one.y0, two.y0)
        assert across <= 0.01 or down <= 0.02, (text, other)


@pytest.mark.parametrize(("kind", "board"), [*DRAWN.items(), ("nfe", "learned-solvers"), ("ablation", "tuned")])
def test_lines_have_at_most_eight_hues(draw, kind, board):
    figure = draw(kind, board)
    hues = {colors.to_hex(line.get_color()) for axes in figure.axes for line in axes.lines}
    hues = {hue for hue in hues if np.ptp(colors.to_rgb(hue)) > 0.02}
    assert kind == "training" or hues <= set(drawing.PALETTE)
    assert len(hues) <= 8


@pytest.mark.parametrize("kind", DRAWN)
def test_the_same_runs_give_the_same_bytes(draw, kind):
    again = figures.figure([BOARDS / DRAWN[kind]], kind)
    for form in drawing.FORMATS if kind == "nfe" else ("svg",):
        assert drawing.rendered(draw(kind), form) == drawing.rendered(again, form)


def test_a_pdf_embeds_its_fonts_as_truetype_and_has_no_date(draw):
    content = drawing.rendered(draw("nfe"), "pdf")
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert b"CreationDate" not in content


def test_an_svg_has_a_role_and_a_title_and_shares_no_id_with_another(draw):
    texts = [drawing.svg(draw(kind)) for kind in ("nfe", "flops", "samples")]
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in texts]
    assert len(set(itertools.chain(*ids))) == sum(map(len, ids))
    for text, own in zip(texts, ids, strict=True):
        root = ElementTree.fromstring(text)
        assert root.get("role") == "img"
        title = next(node for node in root if node.tag.endswith("title"))
        assert title.get("id") == root.get("aria-labelledby")
        assert "digits" in title.text
        assert set(re.findall(r"(?:url\(|href=\")#([^\")]+)", text)) <= set(own)


def test_a_title_is_escaped():
    figure = drawing.Sheet("<script>&", 2.0, 1.0).figure
    assert "<title" in drawing.svg(figure)
    assert "<script>" not in drawing.svg(figure)


def texts_of(figure):
    return [text.get_text().replace("\n", " ") for text in figure.findobj(Text)]


def test_one_step_students_have_a_panel_with_their_names(draw):
    main, beside = draw("nfe").axes
    assert beside.get_xlabel() == "one step"
    assert {text.get_text() for text in beside.texts} == {"BOOT", "Knowledge distillation", "SIM", "Diff-Instruct"}
    assert beside.get_ylim() == main.get_ylim()


def test_the_best_one_step_rows_are_shown_where_a_page_has_no_room_for_all(draw):
    figure = draw("nfe", "defaults")
    _, beside = figure.axes
    (said,) = re.findall(r"One step: the best (\d+) of (\d+)\.", " ".join(texts_of(figure)))
    shown, of = map(int, said)
    board, by_row = leaderboard.read(BOARDS / "defaults"), defaultdict(set)
    for entry in board.entries:
        by_row[entry.key.row].add(entry.nfe)
    values = sorted(e.spread("fd_law").mean for e in board.entries if e.trained and by_row[e.key.row] == {1})
    assert len(beside.texts) == shown < of == len(values)
    assert sorted(line.get_ydata()[0] for line in beside.get_lines() if line.get_marker() == "^") == values[:shown]


def test_every_line_is_named_in_colour_or_as_grey_in_the_note(draw):
    board = leaderboard.read(BOARDS / "quickstart")
    shown = " ".join(texts_of(draw("nfe")))
    for method in board.methods.values():
        assert method.display in shown


def test_the_teacher_is_the_best_solver_at_the_largest_nfe_and_needs_sixteen_evaluations(draw):
    assert "teacher, 35 NFE" in texts_of(draw("nfe"))
    assert not any(text.startswith("teacher") for text in texts_of(draw("nfe", "digits")))


def test_the_teacher_is_drawn_though_its_row_was_not_chosen(draw):
    assert "teacher, 35 NFE" in texts_of(draw("nfe", methods=("consistency", "sim")))


def test_the_frontier_never_gets_worse_with_compute_and_nothing_is_below_it(draw):
    axes = draw("pareto").axes[-1]
    frontier = next(line for line in axes.lines if line.get_linewidth() == 1.6).get_xydata()
    assert (np.diff(frontier[:, 0]) >= 0).all()
    assert (np.diff(frontier[:, 1]) <= 1e-9).all()
    dots = [line.get_xydata() for line in axes.lines if line.get_marker() == "^"]
    for x, y in np.concatenate(dots):
        reached = frontier[frontier[:, 0] <= x * (1 + 1e-9), 1]
        assert y >= reached.min() * (1 - 1e-9)


def test_the_teachers_own_training_is_a_line_at_its_cost(draw):
    axes = draw("pareto").axes[-1]
    (line,) = (line for line in axes.lines if len(set(line.get_xdata())) == 1 and list(line.get_ydata()) == [0, 1])
    assert line.get_xdata()[0] == pytest.approx(383540.02 * 6268928, rel=1e-6)


def test_mean_ranks_and_their_test_agree_with_the_definitions():
    from fewstep.reports.figures.ranks import tested

    table = np.array([[1.0, 2.0, 1.0, 1.0], [2.0, 1.0, 2.0, 2.0], [3.0, 3.0, 3.0, 3.0]])
    means, critical, p = tested(table)
    assert means.tolist() == [1.25, 1.75, 3.0]
    assert critical == pytest.approx(2.343 * (3 * 4 / (6 * 4)) ** 0.5, abs=1e-3)
    assert p == pytest.approx(np.exp(-6.5 / 2))


def test_ranks_are_averaged_over_all_problems_where_others_take_one(tmp_path):
    text = (BOARDS / "quickstart" / "results.csv").read_text()
    header, *lines = text.splitlines()
    other = [re.sub(r"^quickstart,digits,", "quickstart,letters,", line) for line in lines]
    (tmp_path / "results.csv").write_text("\n".join([header, *lines, *other]) + "\n")
    drawn = figures.figure([tmp_path], "methods")
    assert any("16 comparisons (2 problems" in text for text in texts_of(drawn))
    with pytest.raises(ValueError, match="choose with --dataset and --teacher"):
        figures.figure([tmp_path], "nfe")


def test_names_are_drawn_as_they_are_and_infinite_values_are_left_out(row, run_folder):
    name = r"$\frac{x}$ <b>_^ & 100% --> #1"
    rows = [row("euler", s, v, nfe=n, variant=name) for s in (0, 1) for n, v in ((1, 9.0), (2, 3.0), (4, float("inf")))]
    rows += [row("heun", s, 2.0 / n, nfe=n) for s in (0, 1) for n in (1, 2)]
    rows += [row("heun", s, 1.0, nfe=2, variant="other") for s in (0, 1)]
    rows += [row("euler", s, 1.0, nfe=2, variant="other") for s in (0, 1)]
    folder = run_folder("run", rows)
    drawn = figures.figure([folder], "nfe")
    assert any(name.split()[0] in text for text in texts_of(drawn))
    ElementTree.fromstring(drawing.svg(drawn))
    assert drawn.axes[0].get_xlim()[1] < 4


def test_a_pareto_figure_is_as_high_as_the_names_of_its_solvers(row, run_folder):
    rows = [row("euler", 0, 1.0 + 0.01 * i, nfe=4, variant=f"number {i}") for i in range(40)]
    rows += [row("boot", 0, 0.5, nfe=4, budget="1000 evaluations", train_flops=1e9 * i) for i in (1, 2)]
    figure = figures.figure([run_folder("run", rows)], "pareto")
    names = [box for text, box in words(figure) if "number" in text.get_text()]
    assert len(names) == 40
    assert max(box.y1 for box in names) <= figure.get_figheight()
    assert min(box.y0 for box in names) >= 0


def test_an_infinite_value_is_no_point_of_an_ablation(row, run_folder):
    values = {0.1: 3.0, 0.2: 2.0, 0.3: float("inf"), 0.4: 1.0}
    rows = [row("boot", 0, value, nfe=1, variant=f"delta={x}") for x, value in values.items()]
    (axes, *_) = figures.figure([run_folder("run", rows)], "ablation").axes
    assert axes.get_ylim()[1] < 100


def test_the_same_folder_twice_is_one():
    twice = figures.figure([BOARDS / "quickstart"] * 2, "learned")
    assert drawing.svg(twice) == drawing.svg(figures.figure([BOARDS / "quickstart"], "learned"))


def test_a_learned_time_is_drawn_as_its_distance_from_the_identity(draw):
    from fewstep.reports import run_folder

    panel = next(axes for axes in draw("learned").axes if axes.get_ylabel() == "t(r) − r")
    record = next(r for r in run_folder.learned(BOARDS / "quickstart") if r["method"] == "bespoke")
    numbers = dict(record["learned"])
    np.testing.assert_allclose(panel.lines[0].get_ydata(), np.subtract(numbers["t"], numbers["r"]))


def test_several_runs_are_one_figure_whose_rows_say_their_run():
    folders = [BOARDS / "quickstart", BOARDS / "digits"]
    drawn = figures.figure(folders, "nfe", methods=("unipc-3",), labels=("ours", "theirs"))
    assert {"UniPC-3 ours", "UniPC-3 theirs"} <= set(texts_of(drawn))


@pytest.mark.parametrize(
    ("kind", "what", "why"),
    [
        ("pie", {}, "no kind of figure 'pie'; there are nfe, pareto"),
        ("nfe", {"metric": "fid"}, "no metric 'fid' in these results; they have fd_digits"),
        ("nfe", {"methods": ["ddgan"]}, "no row of method 'ddgan'"),
        ("nfe", {"nfes": [7]}, "no row has NFE 7; there are 1, 2, 3"),
        ("nfe", {"width": 0}, "width 0: give 2 to 20 inches"),
        ("nfe", {"width": float("nan")}, "width nan: give 2 to 20 inches"),
        ("nfe", {"dataset": "cifar10"}, "no rows on cifar10 with any teacher"),
        ("budget", {}, "no row was trained at several budgets"),
        ("ablation", {}, "no method has rows with several options"),
        ("pareto", {"methods": ["euler"]}, "no trained row has a value of fd_digits at NFE 1"),
        ("learned", {"methods": ["euler"]}, "no method has learned only a few numbers"),
        ("training", {"methods": ["euler"]}, "no loss was recorded"),
        ("methods", {"nfes": [1], "methods": ["sim", "boot"]}, "mean ranks take 3 rows and 6 comparisons"),
    ],
)
def test_what_a_run_does_not_hold_is_said_in_one_line(kind, what, why):
    with pytest.raises(ValueError, match=re.escape(why)) as error:
        figures.figure([BOARDS / "quickstart"], kind, **what)
    assert "\n" not in str(error.value)


def test_a_kind_without_its_file_says_which(tmp_path):
    (tmp_path / "results.csv").write_bytes((BOARDS / "quickstart" / "results.csv").read_bytes())
    for kind, file in (("samples", "pictures.npz"), ("training", "curves.csv")):
        with pytest.raises(NothingToDrawError, match=file):
            figures.figure([tmp_path], kind)


def test_a_report_shows_few_figures_that_differ():
    drawn = figures.for_report(leaderboard.read(BOARDS / "digits"), {"digits": BOARDS / "digits"})
    assert list(drawn) == ["nfe_fd_digits", "pareto_fd_digits", "learned"]
    assert len(set(drawn.values())) == 3


def test_labels_keep_apart_and_stay_where_they_can():
    placed = drawing.keep_apart([0.5, 0.5, 0.5, 3.0], [0.2] * 4, 0.0, 4.0)
    assert placed == pytest.approx([0.3, 0.5, 0.7, 3.0])
    assert drawing.keep_apart([0.0, 0.05], [0.2, 0.2], 0.0, 1.0) == pytest.approx([0.1, 0.3])


def test_names_of_kinds_are_known_without_matplotlib():
    code = "import sys; from fewstep.reports.figures import KINDS; assert KINDS and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
