"""`fewstep new`: a suite to begin with."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fewstep.bench.commands.main import main
from fewstep.bench.suite.loading import load, shipped_names


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def new(*words):
    return CliRunner().invoke(main, ["new", *words])


@pytest.mark.parametrize("name", shipped_names())
def test_the_copy_is_the_suite_under_its_own_name_with_comments(name):
    result = new("my suite.yaml", "--like", name)
    assert result.exit_code == 0, result.output
    made = load("my suite.yaml")
    assert made.name == "my-suite"
    assert made.model_dump(exclude={"name"}) == load(name).model_dump(exclude={"name"})
    text = Path("my suite.yaml").read_text()
    places = ("problems",) if made.problems else ("datasets", "teachers")
    for key in (*places, "methods", "nfe"):
        above, _, _ = text.partition(f"\n{key}:")
        assert above.splitlines()[-1].startswith("#"), key


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["taken.yaml"], "taken.yaml exists; choose another name"),
        (["mine.yaml", "--like", "quickstrat"], "did you mean 'quickstart'?"),
        (["taken.yaml/mine.yaml"], "cannot write there"),
    ],
)
def test_what_cannot_be_written_is_one_line(words, message):
    Path("taken.yaml").write_text("")
    result = new(*words)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert message in line
    assert [path.name for path in Path().iterdir()] == ["taken.yaml"]
