"""Adam with kept lists is torch's, to the bit."""

import copy

import pytest
import torch

from fewstep.methods.adam import Adam

STEPS = 6


def weights():
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=rng).requires_grad_() for shape in ((3, 4), (5,), (2, 2, 2))]


def nothing(optimizer):
    pass


def forget(optimizer):
    optimizer.state.clear()


def reload(optimizer):
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def slow_down(optimizer):
    optimizer.param_groups[0]["lr"] *= 0.5


def trained(make, midway, missing=None):
    """The weights and moments after STEPS steps; `midway` is done to the optimiser before the fourth."""
    own, rng = weights(), torch.Generator().manual_seed(1)
    optimizer = make(own)
    for step in range(STEPS):
        if step == 3:
            midway(optimizer)
        for number, parameter in enumerate(own):
            parameter.grad = torch.randn(parameter.shape, generator=rng)
            if number == missing and step in (0, 4):
                parameter.grad = None
        optimizer.step()
    return own, optimizer.state_dict()["state"]


@pytest.mark.parametrize("missing", [None, 0, 1])
@pytest.mark.parametrize("midway", [nothing, forget, reload, slow_down])
def test_it_is_torchs_fused_adam_to_the_bit(midway, missing):
    ours, state = trained(lambda own: Adam(own, 0.1, (0.8, 0.9)), midway, missing)
    theirs, expected = trained(lambda own: torch.optim.Adam(own, 0.1, (0.8, 0.9), fused=True), midway, missing)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert state.keys() == expected.keys()
    for number, entries in expected.items():
        assert all(torch.equal(state[number][name], value) for name, value in entries.items())
