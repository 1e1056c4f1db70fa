"""Markdown shows labels as they are: none becomes markup, a link, an image, HTML or a column."""

import pytest

from fewstep.reports import leaderboard, markdown

LABELS = [
    "<img src=x onerror=alert(1)>", "a|b", "*bold* _it_ `code`", "[link](http://x)", "![i](x)", "two\nlines",
    "&lt;b&gt;", "~~gone~~", "# head", "back\\slash",
]  # fmt: skip


@pytest.mark.parametrize("label", LABELS)
def test_a_label_is_one_cell_of_plain_text(run_folder, row, label):
    rows = [row(label, 0, 1.0, variant=f"x={label}"), row("plain", 0, 2.0, variant="y")]
    text = leaderboard.render(leaderboard.read(run_folder("run", rows)), "markdown")
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(lines) == 3
    assert "<img" not in text
    for line in lines:
        assert len([i for i, c in enumerate(line) if c == "|" and not escaped(line, i)]) == 3
        assert not any(c in "*_`[~#<" and not escaped(line, i) for i, c in enumerate(line))


def escaped(line, place):
    """Whether an odd number of backslashes is before this place."""
    before = line[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def test_what_is_escaped_reads_as_it_was():
    assert markdown.escape("a_b <c>") == r"a\_b &lt;c&gt;"
    assert markdown.escape("DPM-Solver++(2M) ± 1.0") == "DPM-Solver++(2M) ± 1.0"
