"""Every suite of a paper but D-ODE's rehearsed whole under `pytest --slow`, and four at few NFEs always."""

import pytest

from .in_process import in_process  # noqa: F401
from .rehearsed import DODE, rehearse
from .test_problems import CELLS

FAST = {"diffsampler-edm": [3], "cm-table2-eval": [1, 2], "dode-noise": [5], "boot-table2": [1, 2]}


@pytest.mark.parametrize("name", FAST)
def test_every_cell_of_a_fast_suite_is_done(in_process, name, tmp_path):  # noqa: F811
    found = rehearse(name, tmp_path, *(word for nfe in FAST[name] for word in ("--only", f"nfe={nfe}")))
    assert {row["status"] for row in found} == {"done"}
    assert {int(row["nfe"]) for row in found} == set(FAST[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CELLS if name not in DODE])
def test_every_cell_of_a_papers_suite_is_done(name, tmp_path):
    assert {row["status"] for row in rehearse(name, tmp_path)} == {"done"}
