"""What a worker makes of a stage that cannot do its task."""

import pytest

from fewstep.bench.run import worker
from fewstep.bench.stages import truth
from fewstep.bench.store import Store
from fewstep.methods.denoiser import from_function
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import noise
from fewstep.methods.solvers.rk45 import AdaptiveSolver


@pytest.fixture
def task():
    return {
        "kind": "truth",
        "key": "0" * 12,
        "label": "truth",
        "params": {"seed": 0, "samples": 1, "tolerance": 1e-5, "device": "cpu"},
        "inputs": {},
    }


def test_an_ode_that_cannot_be_integrated_is_a_reason_and_not_a_bug(tmp_path, task, monkeypatch):
    denoiser = from_function(lambda x, t: -1e12 * x, EDM(0.01, 40.0))
    monkeypatch.setattr(truth, "run", lambda context: AdaptiveSolver().sample(denoiser, noise(0, "start", [0], (2,))))
    store = Store(tmp_path)
    store.prepare()
    event, status = worker.execute(task, store)
    assert event == "failed"
    assert status.reason == (
        "the probability-flow ODE could not be integrated at noise level 40 (sigma/alpha): "
        "the denoiser changes too fast for any step size"
    )
