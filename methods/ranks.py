"""One batch's network evaluations divided among processes, which are otherwise each other's copies.

Every rank runs the whole step on the whole batch, with the same draws; of a network evaluation it runs its own rows and
gets the others' results. What a method does with D(x, t), its solvers and its loss, is then what one process does,
whatever the method. Backward the parts are put together again (a conjugate pair as in shoeybi2019megatron, section 3):
gradients of samples and times are whole on every rank; those of a network's parameters are its part's alone, times
the number of ranks, so that their mean is the gradient, as it is of all other parameters.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """This process among `count` that evaluate together; the default process group of torch.distributed."""

    rank: int
    count: int

    def rows(self, total: int, device: torch.device) -> Tensor:
        """The rows of this rank's part, of one size on every rank: the last rows are repeated to fill it."""
        size = -(-total // self.count)
        return torch.arange(self.rank * size, (self.rank + 1) * size, device=device).clamp(max=total - 1)


_joined: list[Ranks] = []
_together: list[Ranks] = []
_whole = 0


@contextmanager
def joined(rank: int, count: int, meeting: Path, backend: str) -> Iterator[None]:
    """This process is one of `count`, which find each other by a file that is not there yet; backend: gloo or nccl."""
    dist.init_process_group(backend, f"file://{meeting}", rank=rank, world_size=count)
    _joined.append(Ranks(rank, count))
    try:
        yield
    finally:
        _joined.pop()
        dist.destroy_process_group()


@contextmanager
def divided() -> Iterator[None]:
    """Inside, evaluations are divided among the processes that joined, if any did; each must evaluate the same batches
    in the same order.
    """
    _together.extend(_joined)
    try:
        yield
    finally:
        _together.clear()


def is_first() -> bool:
    """Whether this process writes what all have made."""
    return not _joined or _joined[-1].rank == 0


def own(total: int) -> range:
    """Which of `total` things that can be made apart are this process's."""
    return range(_joined[-1].rank, total, _joined[-1].count) if _joined else range(total)


def wait() -> None:
    """Until every rank is here."""
    if _joined:
        dist.barrier()


@contextmanager
def whole() -> Iterator[None]:
    """Inside, every rank evaluates whole batches: what it counts is what one process does."""
    global _whole
    _whole += 1
    try:
        yield
    finally:
        _whole -= 1


def evaluate(predict: Callable[..., Tensor], x: Tensor, t: Tensor, condition: Any) -> Tensor:
    """predict(x, t, condition) by all ranks together; x and result: (B, ...), t: () or (B,)."""
    if not _together or _whole:
        return predict(x, t, condition)
    ranks, total = _together[-1], len(x)
    rows = ranks.rows(total, x.device)
    if t.ndim == 1 or t.requires_grad:
        t = _divide(t.expand(total), rows, ranks)
    if isinstance(condition, Tensor) and condition.ndim and len(condition) == total:
        condition = condition[rows.to(condition.device)]
    with whole():
        own = predict(_divide(x, rows, ranks), t, condition)
    joined: Tensor = _Join.apply(own, total, ranks)
    return joined


def _divide(x: Tensor, rows: Tensor, ranks: Ranks) -> Tensor:
    part: Tensor = _Divide.apply(x, rows, ranks)
    return part


def _gathered(part: Tensor, total: int, ranks: Ranks) -> Tensor:
    parts = [torch.empty_like(part) for _ in range(ranks.count)]
    dist.all_gather(parts, part)
    return torch.cat(parts)[:total]


class _Divide(torch.autograd.Function):
    """The rows of this rank; backward every rank's, divided by the number of ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, ranks: Ranks) -> Tensor:
        ctx.total, ctx.ranks = len(x), ranks
        return x[rows]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _gathered(gradients[0].contiguous() / ctx.ranks.count, ctx.total, ctx.ranks), None, None


class _Join(torch.autograd.Function):
    """Every rank's rows; backward those of this rank, times the number of ranks, and 0 for repeated ones."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, total: int, ranks: Ranks) -> Tensor:
        ctx.size, ctx.total, ctx.ranks = len(part), total, ranks
        return _gathered(part.contiguous(), total, ranks)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        first = ctx.ranks.rank * ctx.size
        own = gradients[0][first : first + ctx.size] * ctx.ranks.count
        missing = ctx.size - len(own)
        return (torch.cat([own, own.new_zeros(missing, *own.shape[1:])]) if missing else own), None, None


def average_gradients(module: nn.Module) -> None:
    """Replace every gradient by its mean over the ranks, in one message per dtype and device."""
    if not _together:
        return
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for parameter in module.parameters():
        if parameter.grad is not None:
            groups.setdefault((parameter.dtype, parameter.device), []).append(parameter.grad)
    for gradients in groups.values():
        _average(gradients, _together[-1].count)


def _average(gradients: Sequence[Tensor], count: int) -> None:
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= count
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
