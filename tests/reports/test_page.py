"""The report as text: complete without its script, escaped, linked to its files, quick to make."""

import json
import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest

from fewstep.bench.benchmarks.report_speed import make
from fewstep.reports import figures, leaderboard, naming, quality, run
from fewstep.reports.page import papers, summary, svg
from fewstep.reports.page.strips import Strips
from fewstep.reports.published.against import BESIDE, Beside
from fewstep.reports.run_folder import METHODS, PAPERS, PICTURES, PUBLISHED, SUITE, Method, methods_json

KINDS = {
    "unipc-3": Method("UniPC-3", "solver", ("zhao2023",), True),
    "dpmpp-2m": Method("DPM-Solver++(2M)", "solver", (), True),
    "sim": Method("SIM", "student", (), True),
    "consistency": Method("Consistency", "student", (), False),
}
ENVIRONMENT = {"fewstep": "0", "torch": "2", "python": "3", "platform": "Linux", "device": "cpu", "threads": 1}
BIBLIOGRAPHY = "@article{zhao2023,\n  title = {{UniPC}: A Framework},\n  year = {2023},\n  eprint = {2302.04867},\n}\n"
HOSTILE = "</style></script><script>document.title='run'</script>\"' onmouseover=alert(1) javascript:alert(2) {{7*7}}"


@pytest.fixture
def no_figures(monkeypatch):
    monkeypatch.setattr(figures, "for_report", lambda *_: {})


@pytest.fixture
def folder(row, run_folder, no_figures):
    """Two solvers and two students at two NFEs and two seeds."""
    means = {"unipc-3": (50.0, 2.41), "dpmpp-2m": (50.0, 2.43), "sim": (3.0, 3.2), "consistency": (5.0, 4.0)}
    rows = [
        row(
            method,
            seed,
            mean + (-0.02 if method == "dpmpp-2m" else 0.02) * seed,
            nfe=nfe,
            cell=f"{method}{nfe}{seed}",
            budget=budget,
            seconds_per_image=0.001,
        )
        for method, pair in means.items()
        for budget in ["0" if method in ("unipc-3", "dpmpp-2m") else "100000 evaluations"]
        for nfe, mean in zip((1, 4), pair, strict=True)
        for seed in (0, 1)
    ]
    made = run_folder("mine", rows)
    (made / METHODS).write_text(methods_json(KINDS))
    (made / PAPERS).write_text(BIBLIOGRAPHY)
    (made / SUITE).write_text("name: test\n")
    (made / "run.json").write_text(
        json.dumps({"suite": "test", "argv": ["fewstep", "run", "a b.yaml"], "environment": ENVIRONMENT})
    )
    return made


class Page(HTMLParser):
    """The tags with their attributes, the texts of table cells by row, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.rows, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, text):
        self.text += text
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += text

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page(*folders, target=None, **how):
    target = target or folders[0] / "report.html"
    run.write_html(folders, target, **how)
    return Page(target.read_text(encoding="utf-8"))


def test_every_value_is_in_a_table_cell_without_the_script(folder):
    board = leaderboard.read(folder)
    found = page(folder).rows
    for grid in quality.grids(board, board.metrics):
        for entry in grid.measured:
            spread = entry.spread(grid.metric)
            text = naming.cell(spread.mean, spread.std).replace(" ", "\xa0")
            assert any(cell.startswith(text) for row in found for cell in row), entry.key


def test_the_page_asks_for_nothing_and_lets_its_own_script_alone_run(folder):
    found = page(folder)
    (policy,) = [meta["content"] for meta in found.named("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]
    assert not found.named("link")
    assert all(image["src"].startswith("data:image/png;base64,") for image in found.named("img"))


def test_the_same_folder_gives_the_same_page(folder):
    texts = []
    for _ in range(2):
        page(folder)
        texts.append((folder / "report.html").read_bytes())
    assert texts[0] == texts[1]


def test_ids_are_unique_and_links_inside_the_page_lead_somewhere(folder):
    found = page(folder)
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    inside = [a["href"][1:] for a in found.named("a") if a["href"].startswith("#")]
    assert set(inside) <= set(ids)
    assert all(th.get("scope") in ("col", "row", "rowgroup") for th in found.named("th"))


def test_a_row_opens_to_its_command_paper_seeds_and_artifacts(folder):
    text = " ".join(page(folder).text.split())
    assert re.search(r"fewstep run \S*mine/suite.yaml --only method=sim --only 'budget=100000 evaluations'", text)
    assert "score-sim40" in text
    assert "seed 1: 3.22" in text
    assert "UniPC: A Framework (2023)" in text


def test_the_footer_says_what_made_the_run_and_links_to_its_files(folder, tmp_path):
    found = page(folder, target=tmp_path / "elsewhere.html")
    assert "fewstep run 'a b.yaml'" in found.text
    assert "SHA-256" in found.text
    links = [a["href"] for a in found.named("a")]
    assert "./mine/results.csv" in links
    assert "https://arxiv.org/abs/2302.04867" in links


def told(board):
    (found,) = summary.summaries(board, quality.grids(board, ["fd_digits"]))
    return {nfe: re.sub("<.*?>", "", text).replace("\xa0", " ") for nfe, text in found.lines}, found.frontier


def test_the_summary_names_the_best_those_that_cannot_be_told_apart_and_the_best_student(folder):
    lines, frontier = told(leaderboard.read(folder))
    assert lines[1].startswith("SIM 3.01 ± 0.01 is ahead of 3 others; best solver: ")
    assert lines[4] == (
        "UniPC-3 2.42 ± 0.01 and DPM-Solver++(2M) 2.42 ± 0.01 cannot be told apart; best student: SIM 3.21 ± 0.01."
    )
    assert "<b>SIM</b> at 1 and <b>UniPC-3</b> at 4" in frontier


def test_several_budgets_are_told_of_one_by_one(row, run_folder):
    budgets = ("0", "1000 evaluations", "2000 evaluations")
    rows = [row(f"m{i}", 0, 1.0 + i + j, budget=b) for j, b in enumerate(budgets) for i in range(3)]
    lines, _ = told(leaderboard.read(run_folder("budgets", rows)))
    assert [part.partition(":")[0] for part in lines[1].split(".") if ":" in part] == [
        "Without training",
        "With 1k evaluations",
        "With 2k evaluations",
    ]


def test_a_folder_without_any_value_has_a_page(row, run_folder, no_figures):
    found = page(run_folder("bare", [row("euler", 0, None, status="failed: it broke")]))
    assert "Nothing has a value yet" in found.text
    assert "it broke" in found.text


def test_a_run_of_one_nfe_has_a_page(row, run_folder, no_figures):
    """Its tables have a column of ranks behind the values."""
    methods = ("sim", "consistency", "unipc-3", "dpmpp-2m")
    rows = [row(name, seed, value + seed) for seed in (0, 1) for value, name in enumerate(methods, 2)]
    folder = run_folder("one", rows)
    (grid,) = quality.grids(leaderboard.read(folder), ["fd_digits"])
    assert quality.table(leaderboard.read(folder), grid).columns[-1] == "rank"
    page(folder)
    assert all(f">{value}.5" in (folder / "report.html").read_text() for value in (2, 3, 4, 5))


def test_labels_of_every_place_are_text(row, run_folder, no_figures, tmp_path):
    names = dict.fromkeys(("suite", "dataset", "teacher", "variant", "protocol", "cell"), HOSTILE)
    rows = [row(HOSTILE, seed, 1.0 + seed, **{**names, "budget": f"1000 {HOSTILE}"}) for seed in (0, 1)]
    rows += [row(HOSTILE, 0, None, **{**names, "nfe": 2, "status": f"failed: {HOSTILE}"})]
    made = run_folder("hostile", rows)
    (made / METHODS).write_text(methods_json({HOSTILE: Method(HOSTILE, HOSTILE, ("k",))}))
    (made / PAPERS).write_text("@a{k,\n title = {<script>},\n url = {javascript:alert(1)},\n}")
    facts = {
        "suite": HOSTILE,
        "description": HOSTILE,
        "argv": [HOSTILE],
        "environment": {**ENVIRONMENT, "device": HOSTILE},
    }
    (made / "run.json").write_text(json.dumps(facts))
    found = page(made, labels=[HOSTILE])
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert [tag for tag, _ in found.tags].count("style") == 1
    assert not [a for _, attributes in found.tags for a in attributes if a.startswith("on")]
    assert all(re.match(r"#|\./|\.\./|https://arxiv", a["href"]) for a in found.named("a"))
    assert "{{7*7}}" in found.text


def test_names_between_backticks_in_a_description_are_code(folder):
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**facts, "description": "As `a<b`, a ` alone."}))
    page(folder)
    assert '<p class="lead">As <code>a&lt;b</code>, a ` alone.</p>' in (folder / "report.html").read_text()


def test_a_figure_gets_a_title_and_ids_of_its_page():
    drawn = (
        '<?xml?><!DOCTYPE svg><svg width="7.2pt" height="2pt" id="a">'
        '<use href="#a" clip-path="url(#b)"/><g id="b"/></svg>'
    )
    text = svg.inline(drawn, "A & B", "f1-")
    assert text.startswith('<svg id="f1-a" role="img" aria-labelledby="f1-title" style="width:10px">')
    assert '<title id="f1-title">A &amp; B</title><use href="#f1-a" clip-path="url(#f1-b)"/>' in text


def test_equal_pictures_are_on_the_page_once_and_all_have_room():
    noise = np.random.default_rng(0).integers(0, 255, (400, 12, 3, 32, 32), dtype=np.uint8)
    strips = Strips({"same": noise[0], "again": noise[0], **{str(i): part for i, part in enumerate(noise)}})
    first, again = strips.of("same", "row-1-1", "A at NFE 1"), strips.of("again", "row-2-1", "B at NFE 1")
    assert first.uri.startswith("data:image/png")
    assert (again.uri, again.like) == ("", "row-1-1")
    assert strips.of("absent", "row-3-1", "C") is None
    total = sum(len(strips.of(str(i), f"row-{i}", "D").uri) for i in range(1, 400))
    assert total < 4_000_000


def test_samples_are_shown_in_their_row(folder):
    np.savez_compressed(folder / PICTURES, sim10=np.zeros((12, 1, 8, 8), dtype=np.uint8))
    (image,) = page(folder).named("img")
    assert image["alt"] == "12 samples, SIM at NFE 1"


def test_titles_of_papers_are_read_from_bibtex_and_only_web_addresses_are_links():
    found = papers.read(BIBLIOGRAPHY + "\n@misc{x,\n  title = {B},\n  url = {javascript:alert(1)},\n}\n")
    assert found["zhao2023"] == papers.Paper("UniPC: A Framework", "2023", "https://arxiv.org/abs/2302.04867")
    assert found["x"].url == ""


def test_several_runs_are_on_one_page_with_a_command_each(folder, row, run_folder, tmp_path):
    other = run_folder("other", [row("unipc-3", 0, 9.0, nfe=4)])
    found = page(folder, other, target=tmp_path / "both.html", labels=["first", "second"])
    assert {"first", "second"} <= {cell for line in found.rows for cell in line}
    assert "./other/results.csv" in [a["href"] for a in found.named("a")]


def test_two_thousand_rows_take_seconds_and_a_quarter_of_them_a_quarter(tmp_path, no_figures):
    def cpu(name, methods):
        made = make(tmp_path / name, methods=methods, variants=2, nfes=(1, 2, 4, 8), seeds=2, metrics=4)
        started = time.process_time()
        page(made)
        return time.process_time() - started

    few, many = cpu("few", 8), cpu("many", 32)
    assert many < 5.0
    assert many < 8 * few + 0.5


def test_a_papers_table_and_the_claims_of_a_suite_have_their_sections(run_folder, row, no_figures):
    place = {"dataset": "cifar10", "teacher": "edm", "metric": "fid", "nfe": 3}
    rows = [row(m, s, v + 0.1 * s, **place) for m, v in (("euler", 93.3), ("heun", 90.0)) for s in range(3)]
    folder = run_folder("run", rows)
    assert not {"claims", "published"} & {section.get("id") for section in page(folder).named("section")}
    stated = Beside(
        "diffsampler", "README FID table",
        [{"dataset": "cifar10", "teacher": "edm", "published": {"dataset": "CIFAR-10"}}],
        [{"method": "euler", "variant": "", "published": {"method": "Euler"}}],
    )  # fmt: skip
    (folder / PUBLISHED).write_bytes(BESIDE.dump_json(stated))
    claim = {
        "id": "a-b", "paper": {"key": "", "says": "<i>heun</i> is better"}, "metric": "fid", "at": {"nfe": [3]},
        "tests": [{"less": {"method": "heun"}, "than": {"method": "euler"}}],
    }  # fmt: skip
    (folder / "suite.yaml").write_text(json.dumps({"claims": [claim]}))
    found = page(folder)
    assert {"claims", "published"} <= {section.get("id") for section in found.named("section")}
    assert "<i>heun</i> is better" in found.text
    assert "93.36 | 93.40 ± 0.10" in found.text
