"""What is counted of a block: the same whether each forward is taken apart or only the first of its kind."""

from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from fewstep.bench.training.counting import Counted
from fewstep.bench.training.memory import LiveBytes
from fewstep.methods import solvers
from fewstep.methods.solvers.rk45 import AdaptiveSolver
from fewstep.tests.methods import killing


def noise(rows):
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(0))


def solve(teacher):
    """With steps of one size, two batch sizes, outputs that stay, and rows that leave the batch when they are exact."""
    kept = [teacher(noise(600), t) for t in (1.0, 2.0, 3.0)]
    for rows in (6, 4, 6):
        solvers.get("dpmpp-2m").sample(teacher, noise(rows), 8)
    AdaptiveSolver(1e-4).sample(teacher, noise(6))
    del kept


@contextmanager
def operations_seen(monkeypatch):
    """How many operations were taken apart inside, as a list of one number."""
    seen, dispatch = [0], LiveBytes.__torch_dispatch__

    def counting(self, *asked):
        seen[0] += 1
        return dispatch(self, *asked)

    with monkeypatch.context() as patch:
        patch.setattr(LiveBytes, "__torch_dispatch__", counting)
        yield seen


def test_flops_and_memory_are_those_of_every_operation():
    teacher = killing.small_teacher()
    held = [*teacher.parameters(), *teacher.buffers()]
    with torch.no_grad(), FlopCounterMode(display=False) as counter, LiveBytes(held) as memory:
        solve(teacher)
    with FlopCounterMode(display=False) as outside, torch.no_grad(), Counted(held=held) as counted:
        solve(teacher)
    assert counted.flops == counter.get_total_flops() > 0
    assert counted.peak_bytes == memory.peak
    assert outside.get_total_flops() == counted.flops


@torch.no_grad()
def test_a_forward_like_an_earlier_one_is_not_taken_apart_again(monkeypatch):
    teacher, x = killing.small_teacher(), noise(6)
    with Counted(held=()) as counted, operations_seen(monkeypatch) as seen:
        teacher(x, 1.0)
        once, flops = seen[0], counted.flops
        for t in (0.5, 2.0, 3.0):
            teacher(x, t)
        assert seen[0] < 2 * once
        assert counted.flops == 4 * flops
        before = seen[0]
        teacher(x[:5], 1.0)
        assert seen[0] - before >= once - 5
        assert counted.flops < 5 * flops


def test_flops_are_torchs_own_for_operations_that_consist_of_others_too():
    """In inference mode autograd does not take attention, matmul and linear apart before they are seen."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randn(2, 8, 6, 6, generator=rng).requires_grad_()
    conv, norm, attention = nn.Conv2d(8, 16, 3), nn.GroupNorm(4, 16), nn.MultiheadAttention(16, 2, batch_first=True)

    def loss():
        tokens = functional.silu(norm(conv(images))).flatten(2).transpose(1, 2)
        seen = attention(tokens, tokens, tokens, need_weights=False)[0]
        seen = seen + functional.scaled_dot_product_attention(tokens, seen, tokens, dropout_p=0.5)
        return torch.einsum("bic,bjc->bij", tokens, seen).square().sum()

    def compute(without_gradients):
        loss().backward()
        with without_gradients():
            loss()

    with FlopCounterMode(display=False) as counter:
        compute(torch.no_grad)
    for without_gradients in (torch.no_grad, torch.inference_mode):
        with Counted(held=()) as counted:
            compute(without_gradients)
        assert counted.flops == counter.get_total_flops() > 0


def test_a_forward_with_a_gradient_is_taken_apart_each_time():
    teacher, x = killing.small_teacher(), noise(600).requires_grad_()

    def learn():
        with torch.no_grad():
            teacher(x, 1.0)
        sum(teacher(x, t).sum() for t in (1.0, 2.0, 3.0)).backward()

    with FlopCounterMode(display=False) as counter:
        learn()
    x.grad = None
    with LiveBytes() as memory:
        learn()
    x.grad = None
    with Counted(held=()) as counted:
        learn()
    assert counted.flops == counter.get_total_flops()
    assert counted.peak_bytes == memory.peak
