"""Every table of D-ODE's paper rehearsed whole."""

import pytest

from .rehearsed import DODE, rehearse


@pytest.mark.slow
@pytest.mark.parametrize("name", DODE)
def test_every_cell_of_a_papers_suite_is_done(name, tmp_path):
    assert {row["status"] for row in rehearse(name, tmp_path)} == {"done"}
