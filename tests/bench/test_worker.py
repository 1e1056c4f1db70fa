"""What a worker makes of a stage that cannot do its task, and what it says of the checkout."""

import subprocess

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


def test_the_commit_is_that_of_a_checkout_or_of_a_worktree_of_it(tmp_path):
    """Of a branch whose commit is in a file, and after its commits were packed."""
    checkout, tree = tmp_path / "checkout", tmp_path / "tree"

    def git(*words):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(checkout), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    checkout.mkdir()
    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "one")
    git("worktree", "add", "-q", "-b", "other", str(tree))
    commit = git("rev-parse", "HEAD")
    assert [worker._git_commit(root) for root in (checkout, tree, tmp_path)] == [commit, commit, None]
    git("pack-refs", "--all")
    assert [worker._git_commit(root) for root in (checkout, tree)] == [commit, commit]
    git("checkout", "-q", "--detach")
    assert worker._git_commit(checkout) == commit
