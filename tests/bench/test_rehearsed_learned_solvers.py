"""Every suite of a paper on learned solvers rehearsed whole."""

import pytest

from .rehearsed import LEARNED, rehearse


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_every_cell_of_a_papers_suite_is_done(name, tmp_path):
    assert {row["status"] for row in rehearse(name, tmp_path)} == {"done"}
