"""Which row of a run `sample` and `export` take."""

import pytest

from fewstep.bench.results.lookup import Wanted, unsaid
from fewstep.bench.results.rows import COLUMNS, to_csv


@pytest.fixture
def folder(tmp_path):
    """Two variants, of which the second alone has NFE 2."""

    def row(variant, nfe):
        key = {"suite": "s", "dataset": "digits", "teacher": "t", "method": "euler", "variant": variant, "budget": "0"}
        value = {"seed": 0, "nfe": nfe, "metric": "rmse", "value": 1.0, "samples": 8, "status": "done"}
        return dict.fromkeys(COLUMNS, "") | key | value

    (tmp_path / "results.csv").write_text(to_csv([row("a", 1), row("b", 1), row("b", 2)]))
    return tmp_path


@pytest.mark.parametrize(("nfe", "variant"), [(1, "a"), (2, "b")])
def test_the_row_that_is_taken_among_several_is_named(folder, nfe, variant):
    said = unsaid(folder, Wanted("euler", nfe, 0))
    assert said.startswith(f"2 rows of euler fit; this is teacher t, variant {variant!r}, budget '0'")


def test_nothing_is_said_of_the_only_row(folder):
    assert unsaid(folder, Wanted("euler", 1, 0, variant="b")) is None
