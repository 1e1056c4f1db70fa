"""One of several processes that train every method together: python -m fewstep.tests.bench.ranked RANK FOLDER."""

import sys
from contextlib import nullcontext
from pathlib import Path

import torch

from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods import ranks
from fewstep.methods.denoiser import from_function
from fewstep.methods.paths import EDM
from fewstep.tests.methods import killing
from fewstep.tests.methods.test_distillation_properties import TRAINED, build

PROCESSES, BUDGET = 2, 1000.0


def train_all(rank, folder):
    """Every method, and what comes of one network's evaluations."""
    torch.set_num_threads(1)
    with ranks.joined(rank, PROCESSES, folder / "meeting", "gloo"):
        torch.save(_found(rank, folder), folder / f"found-{rank}.pt")


def _found(rank, folder):
    found = {"evaluated": _evaluated(), "rows": _rows_seen()}
    for name, spec in TRAINED.items():
        method = build(spec)
        ledger = killing.ledger_of(method, BUDGET)
        fit(method, killing.DATA, method.seed, ledger, folder / f"{name}-{rank}", NoTracker())
        found[name] = method.result().state_dict(), ledger.to_dict()
    return found


def _rows_seen():
    """How many rows a function gets of a batch of five: divided, and where whole batches are asked for."""
    seen = []
    denoiser = from_function(lambda x, t: seen.append(len(x)) or x, EDM())
    with ranks.divided():
        denoiser(torch.zeros(5, 2), 1.0)
        with ranks.whole():
            denoiser(torch.zeros(5, 2), 1.0)
    return seen


def _evaluated():
    """Values and gradients of a chain of two evaluations, of five rows and of one, in each process by itself or not."""
    found = []
    for rows in (5, 1):
        for together in (False, True):
            denoiser = killing.small_teacher().requires_grad_(True)
            x = torch.linspace(-1, 1, 2 * rows).reshape(rows, 2).requires_grad_()
            t = torch.tensor(2.0, requires_grad=True)
            with ranks.divided() if together else nullcontext():
                x1 = denoiser(x, t) + 0.1 * x
                x2 = denoiser(x1, torch.linspace(0.5, 1.5, rows))
                x2.square().mean().backward()
                ranks.average_gradients(denoiser)
            gradients = [p.grad for p in denoiser.parameters()]
            found.append([x2.detach(), x.grad, t.grad, *gradients])
    return found


if __name__ == "__main__":
    train_all(int(sys.argv[1]), Path(sys.argv[2]))
