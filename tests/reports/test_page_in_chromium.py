"""The report in a browser: nothing clipped, tables that sort and filter, rows that open, nothing hostile run."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from fewstep.bench.results.rows import COLUMNS, to_csv
from fewstep.reports import figures, run
from fewstep.reports.published.against import BESIDE, Beside
from fewstep.reports.run_folder import METHODS, METRICS, PUBLISHED, RESULTS, Method, Metric, methods_json, metrics_json

SPEC = importlib.util.spec_from_file_location("chromium", Path(__file__).with_name("chromium.py"))
chromium = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(chromium)

pytestmark = pytest.mark.skipif(
    chromium.PROGRAM is None or sys.platform == "win32", reason="no Chromium: on Debian, apt install chromium"
)
HOSTILE = (
    "</style></script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">\"' javascript:"
)
SHIPPED = Path(run.__file__).parents[1] / "leaderboards"
CLIPPED = """
[...document.querySelectorAll("table td, table thead th")].filter((cell) => {
  const box = cell.getBoundingClientRect();
  if (!cell.textContent.trim() || !box.width) return false;
  const range = document.createRange();
  range.selectNodeContents(cell);
  const text = range.getBoundingClientRect();
  let [left, right] = [0, document.documentElement.clientWidth];
  for (let up = cell.parentElement; up; up = up.parentElement) {
    if (getComputedStyle(up).overflowX === "visible" || up === document.documentElement) continue;
    const around = up.getBoundingClientRect();
    [left, right] = [Math.max(left, around.left), Math.min(right, around.right)];
  }
  const name = cell.parentElement.querySelector("th[scope=row]");
  const stays = name && getComputedStyle(name).position === "sticky";
  if (stays) left = Math.max(left, name.getBoundingClientRect().right - 1);
  return text.left < left - 1 || text.right > right + 1;
}).map((cell) => cell.textContent)
"""
ROWS = "[...document.querySelectorAll('#table-1 tr[data-search]')].filter((row) => row.offsetParent)"
NAMES = f"{ROWS}.map((row) => row.cells[0].innerText)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(autouse=True)
def quiet(browser):
    """No test may see anything logged, thrown or asked for."""
    browser.said.clear()
    browser.asked.clear()
    browser.media()
    yield
    assert browser.said == []
    assert [url for url in browser.asked if not url.startswith(("file:", "data:"))] == []


def written(folder, rows, methods, labels=()):
    folder.mkdir()
    (folder / RESULTS).write_text(to_csv([dict.fromkeys(COLUMNS, "") | row for row in rows]))
    facts = {"fd": Metric("FD (digits)", log_scale=True), "recall": Metric("recall", higher_is_better=True)}
    (folder / METRICS).write_text(metrics_json(facts))
    (folder / METHODS).write_text(methods_json(methods))
    (folder / "run.json").write_text(json.dumps({"suite": "test", "description": methods["evil"].display}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "for_report", lambda *_: {})
        run.write_html([folder], folder / "report.html", labels)
    return folder / "report.html"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Methods a to d and a hostile one, at twenty NFEs, on two data sets."""
    methods = {name: Method(f"Method {name.upper()}", "solver", (), True) for name in "ab"}
    methods |= {"c": Method("Method C", "learned solver", (), True), "d": Method("Method D", "student", (), False)}
    methods |= {"evil": Method(HOSTILE, "student", (), None)}
    rows = [
        {
            "suite": "test", "dataset": dataset, "teacher": "small",
            "method": method, "variant": HOSTILE * (method == "evil"),
            "budget": "0" if method in "ab" else "100000 evaluations", "seed": seed, "nfe": nfe, "metric": metric,
            "value": repr(scale * value + seed + nfe), "samples": 2000, "status": "done",
            "cell": f"{method}{nfe}{seed}", "protocol": metric,
        }
        for dataset in ("digits", "faces")
        for method, value in {"a": 30.0, "b": 10.0, "c": 20.0, "d": 50.0, "evil": 40.0}.items()
        for nfe in (range(1, 21) if method in "ab" else (1, 4))
        for seed in (0, 1)
        for metric, scale in (("fd", 1.0), ("recall", 1e7))
    ]  # fmt: skip
    return written(tmp_path_factory.mktemp("made") / "run", rows, methods)


@pytest.fixture(scope="module", params=["quickstart", "digits", "learned-solvers"])
def shipped(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("shipped") / "report.html"
    run.write_html([SHIPPED / request.param], file)
    return file


def is_whole(browser, file):
    """Nothing of a table is outside of the window at 1216 pixels, on landscape A4, and on a phone."""
    browser.open(file)
    assert browser.evaluate(CLIPPED) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= 1216
    browser.media("print")
    browser.resize(1047)  # 277 mm at 96 pixels per inch.
    assert browser.evaluate(CLIPPED) == []
    browser.media()
    browser.open(file, 400, 800)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 400
    assert len(browser.evaluate(NAMES)) > 1
    for nfe in browser.evaluate("[...document.forms[0].nfe.options].map((o) => o.value).filter(Boolean)"):
        choose(browser, "nfe", nfe)
        assert browser.evaluate(CLIPPED) == []
        heads = "[...document.querySelectorAll('#tables thead th')].filter((h) => h.offsetParent && h.dataset.nfe)"
        assert set(browser.evaluate(f"{heads}.map((h) => h.dataset.nfe)")) == {nfe}


def choose(browser, name, value):
    browser.evaluate(
        f"(() => {{ const field = document.forms[0].elements[{name!r}]; field.value = {value!r};"
        "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true })); })()"
    )


def test_no_number_of_the_committed_boards_is_clipped(browser, shipped):
    is_whole(browser, shipped)


def test_no_number_is_clipped_with_many_nfes_large_numbers_and_long_names(browser, made):
    is_whole(browser, made)


def test_names_without_a_space_are_broken_rather_than_cut(browser, tmp_path):
    long = "long" * 60
    base = {
        "suite": long,
        "dataset": long,
        "teacher": long,
        "seed": 0,
        "samples": 9,
        "status": "done",
        "protocol": long,
    }
    rows = [
        {
            **base,
            "method": f"{long}{i}",
            "variant": long,
            "budget": f"{i} {long}",
            "nfe": nfe,
            "metric": "fd",
            "value": 1.5,
        }
        for i in range(3)
        for nfe in (1, 20)
    ]
    is_whole(browser, written(tmp_path / "long", rows, {"evil": Method(long)}, labels=[long]))


def test_without_script_all_rows_and_details_are_there(browser, made):
    browser.open(made, script=False)
    browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert len(browser.evaluate(NAMES)) == 5
    assert browser.evaluate("document.querySelectorAll('#rows > details').length") == 10
    assert browser.evaluate("document.querySelector('.tools').offsetParent") is None


def test_a_head_sorts_best_first_then_the_other_way_then_as_at_first(browser, made):
    browser.open(made)
    at_first = [name[:8] for name in browser.evaluate(NAMES)]
    press = "document.querySelector('#table-1 thead th[data-nfe=\"4\"] button').click()"
    browser.evaluate(press)
    assert [name[:8] for name in browser.evaluate(NAMES)] == [
        "Method B",
        "Method C",
        "Method A",
        HOSTILE[:8],
        "Method D",
    ]
    browser.evaluate(press)
    assert browser.evaluate(NAMES)[0].startswith("Method D")
    assert browser.evaluate("document.querySelector('#table-1 [aria-sort]').getAttribute('aria-sort')") == "descending"
    browser.evaluate(press)
    assert [name[:8] for name in browser.evaluate(NAMES)] == at_first


def test_a_metric_whose_higher_values_are_better_sorts_them_first(browser, made):
    browser.open(made)
    recall = "[...document.querySelectorAll('#tables .table')].find((t) => t.innerText.startsWith('recall'))"
    browser.evaluate(f"{recall}.querySelector('thead th[data-nfe=\"4\"] button').click()")
    assert browser.evaluate(f"{recall}.querySelector('tr[data-search]').innerText").startswith("Method D")


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("search", "onERROR script", [HOSTILE[:8]]),
        ("search", "no such row", []),
        ("kind", "learned solver", ["Method C"]),
        ("budget", "0", ["Method A", "Method B"]),
        ("free", "no", ["Method D"]),
        ("nfe", "4", ["Method A", "Method B", "Method C", "Method D", HOSTILE[:8]]),
        ("dataset", "faces", []),
    ],
)
def test_filters_leave_what_they_name(browser, made, field, value, left):
    browser.open(made)
    choose(browser, field, value)
    assert [name[:8] for name in browser.evaluate(NAMES)] == left
    browser.evaluate("document.forms[0].querySelector('[type=reset]').click()")
    assert browser.evaluate(f"new Promise((done) => setTimeout(() => done({NAMES}.length)))") == 5


@pytest.fixture(scope="module")
def beside(tmp_path_factory):
    """Euler as in diff-sampler's table at 3 and far from it at 4, Heun's 4 not run."""
    folder = tmp_path_factory.mktemp("beside") / "run"
    place = {"suite": "test", "dataset": "cifar10", "teacher": "edm", "method": "euler", "budget": "0", "metric": "fid"}
    rows = [
        {**place, "seed": seed, "nfe": nfe, "value": repr(value + 0.1 * seed), "samples": 50_000, "status": "done"}
        for nfe, value in ((3, 93.3), (4, 80.0))
        for seed in range(3)
    ]
    folder.mkdir()
    (folder / RESULTS).write_text(to_csv([dict.fromkeys(COLUMNS, "") | row for row in rows]))
    (folder / METRICS).write_text(metrics_json({"fid": Metric("FID", log_scale=True)}))
    problem = {
        "dataset": "cifar10", "teacher": "edm", "family": "edm", "references": {"fid": "cifar10-32x32"},
        "published": {"dataset": "CIFAR-10"},
    }  # fmt: skip
    own = [{"method": name.lower(), "variant": "", "published": {"method": name}} for name in ("Euler", "Heun")]
    stated = Beside("diffsampler", "README FID table", [problem], own, {"samples": "50000"})
    (folder / PUBLISHED).write_bytes(BESIDE.dump_json(stated))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "for_report", lambda *_: {})
        run.write_html([folder], folder / "report.html")
    return folder / "report.html"


def test_a_verdict_leaves_the_rows_beside_the_paper_that_have_it(browser, beside):
    browser.open(beside)
    shown = "[...document.querySelectorAll('#published tbody th[scope=row]')].filter((t) => t.offsetParent)"
    clear = "[...document.querySelectorAll('#published td[data-verdicts]')].filter((t) => !t.matches('.other'))"
    clear = f"{clear}.filter((t) => t.offsetParent)"
    choices = browser.evaluate("[...document.querySelector('.verdicts select').options].map((o) => o.value)")
    assert choices == ["", "quoted", "not run", "reproduced", "differs"]
    everything = browser.evaluate(f"{shown}.length")
    for verdict, text in (("reproduced", "93.36"), ("differs", "66.76")):
        browser.evaluate(
            f"(() => {{ const field = document.querySelector('.verdicts select'); field.value = {verdict!r};"
            "field.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )
        assert [name[:5] for name in browser.evaluate(f"{shown}.map((t) => t.innerText)")] == ["Euler"]
        (cell,) = browser.evaluate(f"{clear}.map((t) => t.innerText)")
        assert cell.startswith(text)
        assert browser.evaluate("document.querySelector('.verdicts output').innerText") == "1 cell"
    browser.evaluate(
        "(() => { const field = document.querySelector('.verdicts select'); field.value = '';"
        "field.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )
    assert browser.evaluate(f"{shown}.length") == everything > 1


def test_a_row_opens_under_itself_and_closes(browser, made):
    browser.open(made)
    press = "document.querySelector('#table-1 tr[data-search] a').click()"
    browser.evaluate(press)
    opened = "document.querySelector('#table-1 tr[data-search]').nextElementSibling"
    assert "fewstep run test --only method=a" in browser.evaluate(f"{opened}.innerText")
    assert browser.evaluate("(() => { const i = [...document.querySelectorAll('[id]')]; "
                            "return i.length - new Set(i.map((e) => e.id)).size; })()") == 0  # fmt: skip
    browser.evaluate(press)
    assert browser.evaluate(f"{opened}.className") != "opened"


def test_a_hostile_label_is_text_and_runs_nothing(browser, made):
    browser.open(made)
    browser.evaluate("[...document.querySelectorAll('#tables tr[data-search] a')].forEach((link) => link.click())")
    assert browser.evaluate("document.title") == "test · fewstep"
    assert "<script>" in browser.evaluate("document.querySelector('.lead').innerText")


def test_the_policy_stops_what_would_get_past_the_escaping(browser, made, tmp_path):
    broken = tmp_path / "broken.html"
    evil = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    broken.write_text(
        made.read_text().replace("<main>", f"{evil}<a id=evil href=\"javascript:document.title='run'\">x</a>")
    )
    browser.open(broken)
    browser.evaluate("document.getElementById('evil').click()")
    assert browser.evaluate("document.title") == "test · fewstep"
    browser.said.clear()


def test_dark_mode_has_light_text_on_a_dark_page(browser, made):
    browser.open(made)
    browser.media(dark=True)
    colours = "['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name].match(/\\d+/)[0])"
    text, page = map(int, browser.evaluate(colours))
    assert text > 200 > 60 > page
