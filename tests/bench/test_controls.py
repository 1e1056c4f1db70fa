"""Claims of which we know whether they hold, from the samples to the verdict."""

import pytest

from fewstep.methods import registry
from fewstep.reports.claims import reading
from fewstep.reports.claims.decide import Outcome
from fewstep.reports.claims.judge import over
from fewstep.tests.bench.in_process import call, run_in_process, write_suite
from fewstep.tests.bench.plugins import spoiled


def claim(name, a, b):
    tests = [{"less": {"method": a}, "than": {"method": b}}]
    return {
        "id": name,
        "paper": {"key": "", "says": f"{a} < {b}"},
        "metric": "fd_digits",
        "tests": tests,
        "at": {"nfe": [6]},
    }


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Claim -> verdict, of three seeds of 200 samples of the shipped teacher."""
    folder = tmp_path_factory.mktemp("controls")
    with pytest.MonkeyPatch.context() as patch:
        run_in_process(patch)
        patch.setitem(registry.METHODS.entries, "spoiled", spoiled.SPEC)
        suite = write_suite(
            folder,
            datasets="digits",
            teachers={"name": "shipped", "file": "digits-unet-128k"},
            seeds=[0, 1, 2],
            nfe=[6],
            samples=200,
            metrics="fd_digits",
            methods=[{"name": "euler"}, {"name": "spoiled"}],
            claims=[claim("better", "euler", "spoiled"), claim("worse", "spoiled", "euler")],
        )
        result = call("run", suite, "--out", folder / "out", "--store", folder / "store")
    assert result.exit_code == 0, result.output
    _, judged = over(reading.boards([folder / "out"]))
    return {one.claim.id: one.outcome for one in judged}


def test_a_sampler_is_better_than_itself_with_a_tenth_of_its_samples_spoiled(verdicts):
    assert verdicts == {"better": Outcome.HOLDS, "worse": Outcome.FAILS}
