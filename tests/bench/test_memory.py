"""The memory of a training step, in bytes of tensors."""

import pytest
import torch
from torch import nn

from fewstep.bench.training.memory import LiveBytes
from fewstep.methods import registry
from fewstep.tests.methods import killing

MB = 1_000_000


def test_the_peak_is_what_was_alive_at_once():
    with LiveBytes() as memory:
        first = torch.zeros(MB // 4)
        view = first[10:]
        del first
        assert memory.live == MB
        del view
        second = torch.zeros(2 * MB // 4)
        assert memory.live == 2 * MB
        third = second + second
        del second, third
    assert (memory.live, memory.peak) == (0, 4 * MB)


def test_all_that_an_operation_gives_is_alive():
    with LiveBytes() as memory:
        kept = torch.zeros(MB // 4).sort()
        assert memory.live == MB + 2 * MB, kept


def test_a_step_of_adam_holds_weights_states_gradients_and_activations():
    """500 x 1000 activations, of which the output, its difference's square root and its gradient are alive at once."""
    network = nn.Linear(1000, 1000, bias=False)
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    x = torch.randn(500, 1000)
    for _ in range(2):
        held = [*network.parameters(), *(v for state in optimizer.state.values() for v in state.values())]
        with LiveBytes(held) as memory:
            network(x).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    weights = 4 * MB
    assert memory.live == pytest.approx(3 * weights, rel=1e-3)
    assert memory.peak == pytest.approx(4 * weights + 0.5 * weights, rel=0.3)


@pytest.mark.parametrize("name", ["knowledge", "sim", "diff-instruct", "dmd"])
def test_every_network_is_held_once(name, tmp_path):
    """Teacher, student and average, a fake score where there is one; two Adam states and a gradient beside them."""
    spec = registry.method(name)
    method = spec.load()(killing.small_teacher(), spec.options(batch=2))
    ledger = killing.train(method, 1500, tmp_path)
    weights = sum(p.numel() * p.element_size() for p in method.teacher.parameters())
    trained = 1 if name == "knowledge" else 2
    networks = 1 + trained + 1
    states = 2 * trained
    peak = max(ledger.peak_bytes.values())
    assert networks + states + 1 <= peak / weights < networks + states + 2.5
    storages = {p.untyped_storage().data_ptr() for net in (method, method.teacher) for p in net.parameters()}
    assert sum(p.numel() for p in method.parameters()) * 4 == pytest.approx((networks - 1) * weights, rel=0.01)
    assert len(storages) == networks * len(list(method.teacher.parameters()))
