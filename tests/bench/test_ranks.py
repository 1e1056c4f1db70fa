"""Several processes that train together: the student of one, whatever the method."""

import subprocess
import sys

import pytest
import torch

from fewstep.tests.bench.ranked import BUDGET, PROCESSES
from fewstep.tests.methods import killing
from fewstep.tests.methods.test_distillation_properties import TRAINED, build


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What each of two processes found."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "fewstep.tests.bench.ranked"]
    processes = [subprocess.Popen([*command, str(rank), str(folder)]) for rank in range(PROCESSES)]
    assert [process.wait() for process in processes] == [0] * PROCESSES
    return [torch.load(folder / f"found-{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def test_values_and_gradients_are_those_of_one_process(together):
    """Of samples, times and parameters, through two evaluations; also where a rank has no row of its own."""
    for found in together:
        for alone, divided in zip(found["evaluated"][::2], found["evaluated"][1::2], strict=True):
            for value, expected in zip(divided, alone, strict=True):
                torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)


def test_each_process_evaluates_its_rows_of_a_batch_or_all_where_they_are_counted(together):
    assert [found["rows"] for found in together] == [[3, 5]] * PROCESSES


@pytest.mark.parametrize("name", TRAINED)
def test_a_student_is_that_of_one_process(name, together, tmp_path):
    """To 1e-5, with the same steps, and what all spent together is what one would have."""
    method = build(TRAINED[name])
    ledger = killing.train(method, BUDGET, tmp_path).to_dict()
    (first, own), (second, _) = (found[name] for found in together)
    assert all(torch.equal(first[key], value) for key, value in second.items())
    for key, value in method.result().state_dict().items():
        torch.testing.assert_close(first[key], value, rtol=1e-5, atol=1e-5)
    for amount in ("steps", "flops", "evaluations", "images", "uses"):
        assert own[amount] == ledger[amount]
