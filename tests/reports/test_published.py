"""What papers print: the collection, and what may be said of a measured number beside a published one."""

import math
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from fewstep.methods.published_networks import NETWORKS
from fewstep.reports.published import collection, papers
from fewstep.reports.published.collection import SOURCES, VERIFICATIONS, Row, collisions, of_table, parse
from fewstep.reports.published.judgement import Circumstances, Verdict, judge, summary
from fewstep.reports.published.tolerance import Ours, compared, half_width

ROWS = collection.collection()
DOCUMENTED = {
    ("bespoke", "EDM sampler", "CIFAR-10"): ["3.05", "3.01"],
    ("gan_refs", "StyleGAN-XL", "CIFAR-10"): ["1.85", "1.52"],
    ("gan_refs", "StyleGAN-XL", "ImageNet-64"): ["1.52", "2.09"],
    ("gan_refs", "BigGAN", "CIFAR-10"): ["14.7", "14.73", "8.51"],
}


def test_sources_disagree_only_where_it_is_documented():
    found = {(own[0].paper_key, own[0].method, own[0].dataset): own for own in collisions(ROWS).values()}
    assert {key: [row.value for row in own] for key, own in found.items()} == DOCUMENTED


def test_the_whole_collection_is_there_with_its_sources():
    """1,956 numbers of 52 papers: read in the paper, read elsewhere, remembered."""
    assert len({row.paper_key for row in ROWS}) == 52
    assert [sum(row.read_in == where for row in ROWS) for where in SOURCES] == [994, 904, 58]
    assert {"adm", "edm", "gan_refs", "imm", "meanflow", "scm", "tcm", "sida"} <= {row.paper_key for row in ROWS}
    assert not {row.paper_key for row in ROWS} & {"d-ode", "dode", "iia"}


def test_every_published_number_keeps_to_the_schema():
    for row in ROWS:
        assert row.paper_key
        assert row.metric
        assert row.source
        assert math.isfinite(row.number)
        assert row.verification in VERIFICATIONS
        assert row.read_in in SOURCES
        assert row.recalled == (row.read_in == "memory")
        assert row.data_free in ("", "y", "n")
        assert not row.nfe or int(row.nfe) > 0
        assert not row.resolution or int(row.resolution) > 0
        assert not row.guidance_scale or float(row.guidance_scale) >= 0
        assert row.conditioning in ("uncond", "class", "text")


def test_a_number_whose_zeros_were_lost_has_the_decimals_of_its_table():
    pd = {row.nfe: row.shown for row in of_table(ROWS, "pd", "Table 2") if row.method == "Progressive distillation"}
    assert pd["4"] == "3.00"


def test_a_paper_or_a_table_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(ValueError, match="no published numbers of 'ddgan'; there are adm, "):
        of_table(ROWS, "ddgan")
    with pytest.raises(ValueError, match="cm has no table 'Table 9'; there are Table 1"):
        of_table(ROWS, "cm", "Table 9")


def test_another_head_is_refused():
    with pytest.raises(ValueError, match="need the columns paper_key, arxiv_id"):
        parse(["paper,value", "a,1"])


def published(value="2.04", decimals=2, **changes) -> Row:
    row = replace(ROWS[0], metric="FID", value=value, verification="verified", note="src=primary", decimals=decimals)
    return replace(row, **changes)


STEADY = Ours([2.05, 2.03, 2.04, 2.05, 2.03], error=0.01)
TRAINED = Ours([2.05, 2.03, 2.04], trained=True)
CASES = {
    Verdict.SMOKE: ([published()], STEADY, Circumstances(smoke=True, planned=False)),
    Verdict.QUOTED: ([published()], None, Circumstances(planned=False, absent="failed")),
    Verdict.NOT_RUN: ([published(verification="recalled")], None, Circumstances(absent="missing file")),
    Verdict.RECALLED: ([published(verification="recalled")], STEADY, Circumstances(teacher="other")),
    Verdict.SOURCES_DISAGREE: ([published(), published("2.09")], STEADY, Circumstances(teacher="other")),
    Verdict.TEACHER_DIFFERS: ([published()], STEADY, Circumstances(teacher="other", protocol=("samples",))),
    Verdict.PROTOCOL_DIFFERS: ([published()], STEADY, Circumstances(protocol=("samples",), trained_share=0.1)),
    Verdict.PROTOCOL_UNKNOWN: ([published()], STEADY, Circumstances(protocol=None, trained_share=0.1)),
    Verdict.BUDGET_DIFFERS: ([published()], TRAINED, Circumstances(trained_share=0.94, own_settings=True)),
    Verdict.SETTINGS_DIFFER: ([published()], Ours([2.04], trained=True), Circumstances(own_settings=True)),
    Verdict.UNDECIDED: ([published()], Ours([2.04], error=0.001, trained=True), Circumstances(trained_share=1.0)),
    Verdict.REPRODUCED: ([published()], STEADY, Circumstances()),
    Verdict.DIFFERS: ([published("2.20")], STEADY, Circumstances()),
}


UNCOMPARED = {Verdict.SMOKE, Verdict.QUOTED, Verdict.NOT_RUN, Verdict.RECALLED}


def test_no_number_from_memory_is_ever_compared():
    """Whatever the circumstances, and however near it is."""
    remembered = [row for row in ROWS if row.recalled]
    assert len(remembered) == 58
    for row in remembered:
        ours = replace(STEADY, values=[row.number] * 5)
        for _, _, circumstances in CASES.values():
            judged = judge([row], ours, row.metric, circumstances)
            assert judged.verdict in UNCOMPARED
            assert math.isnan(judged.difference)
    judged = judge([published(), published("2.09", verification="recalled")], STEADY, "FID", Circumstances())
    assert (judged.verdict, judged.parts) == (Verdict.REPRODUCED, ())


@pytest.mark.parametrize("verdict", Verdict)
def test_each_verdict_is_given_before_those_that_come_after_it(verdict):
    """Each case has the reason of its verdict and, where one can, of a later one."""
    rows, ours, circumstances = CASES[verdict]
    judged = judge(rows, ours, "FID", circumstances)
    assert judged.verdict is verdict
    assert judged.reason


def test_what_is_not_comparable_is_never_reproduced_however_near():
    for verdict, (rows, _, circumstances) in CASES.items():
        exact = replace(STEADY, values=[rows[0].number] * 5)
        if verdict not in (Verdict.REPRODUCED, Verdict.DIFFERS, Verdict.UNDECIDED):
            assert judge(rows, exact, "FID", circumstances).verdict is not Verdict.REPRODUCED


def test_the_difference_is_shown_wherever_numbers_are_compared():
    judged = judge([published("2.00")], Ours([2.04, 2.05, 2.03], error=0.01), "FID", Circumstances(teacher="other"))
    assert judged.difference == pytest.approx(0.02)
    assert judged.text == "+2.0 % teacher differs"
    assert judged.close
    recalled = judge([published(verification="recalled")], STEADY, "FID", Circumstances())
    assert math.isnan(recalled.difference)


def test_of_sources_that_disagree_it_is_said_with_which_it_agrees():
    judged = judge([published("2.04"), published("2.40")], STEADY, "FID", Circumstances())
    assert judged.published == "2.04 / 2.40"
    assert judged.reason.endswith("it agrees with 2.04")
    assert [part.verdict for part in judged.parts] == [Verdict.REPRODUCED, Verdict.DIFFERS]


def test_papers_drawn_from_our_own_law_are_reproduced_in_95_percent():
    """The interval is the prediction interval of one more run: t with n - 1 degrees, rounding included."""
    rng = np.random.default_rng(0)
    for n in (3, 8):
        verdicts = []
        for _ in range(1000):
            *own, theirs = rng.normal(10.0, 0.1, n + 1).tolist()
            row = published(f"{theirs:.3f}", decimals=3)
            verdicts.append(judge([row], Ours(own, trained=True), "FID", Circumstances()).verdict)
        assert set(verdicts) == {Verdict.REPRODUCED, Verdict.DIFFERS}
        assert 930 <= verdicts.count(Verdict.REPRODUCED) <= 970


def test_the_least_of_three_blocks_is_compared_with_the_least_of_three():
    """The expected least of three normals is 0.846 standard deviations below their mean."""
    rng = np.random.default_rng(0)
    least = rng.normal(0.0, 1.0, (200_000, 3)).min(1).mean()
    ours = Ours([5.0, 5.0, 5.0, 5.0], error=1.0)
    assert compared(4.0, ours, "min-of-3") == (5.0, pytest.approx(4.0 - least, abs=0.01))
    assert compared(4.0, Ours([5.0, 4.5, 5.5], error=1.0), "min-of-3") == (4.5, 4.0)
    assert compared(4.0, ours, "one-block") == (5.0, 4.0)


def test_the_half_width_is_that_of_the_formula_with_a_floor():
    # t_{2, 0.975} = 4.302653, the spread of 1, 2, 3 is 1.
    assert half_width(Ours([1.0, 2.0, 3.0]), "FID", 1) == pytest.approx(4.302653 * math.sqrt(4 / 3) + 0.05)
    assert half_width(Ours([1.0, 2.0, 3.0], error=2.0), "FID", 1) == pytest.approx(8.605305 * math.sqrt(4 / 3) + 0.05)
    assert half_width(Ours([2.0], error=0.1), "FID", 2) == pytest.approx(0.2 * math.sqrt(2) + 0.005)
    assert half_width(Ours([2.0], error=0.0), "FID", 3) == 0.01
    assert math.isnan(half_width(Ours([2.0]), "FID", 2))


def test_the_foot_of_a_table_shows_what_is_systematic():
    """A shift of 1 % in each of many cells is seen in the mean though every cell is reproduced."""
    judged = [judge([published("2.00")], Ours([2.02, 2.03, 2.01], error=0.02), "FID", Circumstances())] * 20
    found = summary(judged)
    assert (found.compared, found.reproduced) == (20, 20)
    assert found.mean_difference == pytest.approx(0.01)
    assert found.text.startswith("20 of 20 comparable cells reproduced, 19 expected")
    assert summary([judge([published()], None, "FID", Circumstances())]).text == "no cell can be compared"


def test_every_line_of_a_protocol_is_of_a_known_table_in_known_words():
    """What is verified says how FID was measured; what is not is never judged by."""
    tables = {(row.paper_key, row.paper_table) for row in ROWS}
    text = files("fewstep").joinpath("leaderboards", "papers.csv").read_text(encoding="utf-8")
    assert tuple(text.splitlines()[0].split(",")) == papers.COLUMNS
    assert len(text.splitlines()) == 1 + len(papers.protocols())
    families = {network.form for network in NETWORKS.values()}
    for (key, table), line in papers.protocols().items():
        assert (key, table) in tables if table else key in {own for own, _ in tables}
        assert line.teacher in {"", papers.UNPUBLISHED, *families}
        assert line.metric in ("", *papers.FRECHET)
        assert line.reference in ("", *papers.REFERENCES)
        assert not line.samples or int(line.samples) > 0
        assert line.statistic in ("", "one-block", "mean", "min-of-3")
        assert line.labels in ("", "uniform", "data")
        assert line.rounding in ("", "round", "truncate")
        assert line.verified in ("yes", "no")
        assert line.note
        assert line.verified == "no" or (line.metric and line.reference and line.samples)
        assert (line.differences({}) is None) == (line.verified == "no" or not line.metric)


def test_a_protocol_names_which_fid_and_leaves_other_metrics_alone():
    cm = papers.protocol("cm", "Table 2")
    reference = {"reference": "VIRTUAL_imagenet64_labeled"}
    assert cm.differences({"metric": "fid", **reference}) == ()
    assert cm.differences({"metric": "inception_recall", **reference}) == ()
    assert cm.differences({"metric": "inception_score"}) == ()
    assert cm.differences({"metric": "fid_clean", **reference}) == ("metric fid_clean, the paper's fid",)
    assert cm.differences({"metric": "inception_recall"}) == ("reference of our own, the paper's is ADM's",)
