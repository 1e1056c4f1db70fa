"""Sums of states that are worked out late: the same numbers, in fewer passes over tensors."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fewstep.methods import solvers
from fewstep.methods.denoiser import EDMDenoiser, NetworkDenoiser
from fewstep.methods.paths import EDM, VPDiscrete
from fewstep.methods.solvers.combinations import Combination


def states(count, dtype=torch.float64):
    return list(torch.randn(count, 5, dtype=dtype, generator=torch.Generator().manual_seed(0)))


def test_a_tensor_that_comes_twice_is_one_term():
    x, y = states(2)
    combination = Combination((2.0, x), (3.0, y), (-0.5, x))
    assert [weight for weight, _ in combination.terms()] == [1.5, 3.0]
    torch.testing.assert_close(combination.value(), 1.5 * x + 3 * y)
    torch.testing.assert_close(Combination(*combination.terms(-2.0)).value(), -3 * x - 6 * y)


def test_what_cancels_is_no_term():
    x, y = states(2)
    assert Combination((0.1, x), (1.0, y), (-0.1, x)).terms() == [(1.0, y)]


def test_a_sum_told_by_another_has_its_value_and_only_their_difference_as_terms():
    x, f, g, h = states(4)
    known = Combination((0.3, x), (0.2, f), (0.1, g))
    wanted = Combination((0.3, x), (0.25, f), (0.1, g), (-0.4, h))
    told = wanted.told_by(known, known.value())
    assert len(told.terms()) == 3
    torch.testing.assert_close(told.value(), wanted.value())


class Passes(TorchDispatchMode):
    """Counts the operations that write as many numbers as a state has."""

    def __init__(self, size):
        super().__init__()
        self.size, self.count = size, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.count += isinstance(result, torch.Tensor) and result.numel() == self.size and not function.is_view
        return result


class Constant(torch.nn.Module):
    """The same eps, in no pass."""

    def __init__(self, eps):
        super().__init__()
        self.eps = eps

    def forward(self, x, t, condition):
        return self.eps


@pytest.mark.parametrize(
    ("name", "by_eps", "by_F"), [("unipc-3", 7, 8), ("ipndm", 5, 8), ("dpmpp-2m", 5, 6), ("deis-tab3", 5, 8)]
)
@pytest.mark.parametrize("kind", ["eps", "F"])
def test_a_step_takes_few_passes_over_the_state(name, by_eps, by_F, kind):
    """One for each term of the step's sum; before, of a network that predicts eps two for x0, of EDM's one for its
    input and two for x0 or eps.
    """
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    network, passes = Constant(x.clone()), {"eps": by_eps, "F": by_F}[kind]
    denoiser = NetworkDenoiser(network, VPDiscrete(), "eps") if kind == "eps" else EDMDenoiser(network, 0.5, EDM())

    def count(nfe):
        with Passes(x.numel()) as counted:
            solvers.get(name).sample(denoiser, x, nfe=nfe)
        return counted.count

    # Steps in the middle of the grid, of full order.
    assert count(16) - count(15) == passes
