"""FLOPs and memory of what is computed, operation by operation; a forward like an earlier one is not taken apart again.

Counting takes several times as long as computing where the operations are small. What solves an ODE, or samples, asks
one network about batches of one size: its FLOPs and its memory are those of the first time.
"""

from collections.abc import Callable, Hashable, Iterable
from contextlib import ExitStack
from typing import Any, Self

import torch
from torch import Tensor
from torch._C import DispatchKey
from torch._ops import OpOverload
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _get_current_dispatch_mode_stack,
    _pop_mode_temporarily,
)
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode

from ...methods import computing, meter
from .memory import LiveBytes


class Counted:
    """What is computed inside: FLOPs if `flops`, the peak of memory if `held` are the tensors alive before.

    mapping: (operation -> FLOPs of it), beside torch's own.
    """

    def __init__(
        self, flops: bool = True, held: Iterable[Tensor] | None = None, mapping: dict[Any, Any] | None = None
    ) -> None:
        self._counter = _Sum(display=False, custom_mapping=mapping) if flops else None
        self._memory = None if held is None else LiveBytes(held)
        self._known: dict[Hashable, tuple[int, int]] = {}
        self._not_counted = 0
        self._modes: list[TorchDispatchMode] = []
        self._open = ExitStack()

    def __enter__(self) -> "Counted":
        if self._counter is None and self._memory is None:
            return self
        self._open.enter_context(computing.counted())
        before = len(_get_current_dispatch_mode_stack())
        for mode in (self._counter, self._memory):
            if mode is not None:
                self._open.enter_context(mode)
        self._modes = _get_current_dispatch_mode_stack()[before:]
        self._open.enter_context(meter.around_forwards(self._forward))
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    @property
    def flops(self) -> int:
        """So far, also while the block is open; 0 where they are not counted."""
        return self._not_counted + (0 if self._counter is None else self._counter.get_total_flops())

    @property
    def peak_bytes(self) -> int | None:
        return None if self._memory is None else self._memory.peak

    def _forward(self, evaluate: meter.Forward, predict: Any, x: Tensor, t: Tensor, condition: Any) -> Tensor:
        """evaluate(predict, x, t, condition), counted if it has a gradient or is the first of its kind."""

        def forward() -> Tensor:
            return evaluate(predict, x, t, condition)

        if torch.is_grad_enabled() or _get_current_dispatch_mode_stack()[-len(self._modes) :] != self._modes:
            return forward()
        kind = _kind(predict, x, t, condition)
        if kind not in self._known:
            return self._first(kind, forward)
        flops, rise = self._known[kind]
        with ExitStack() as inside:
            for _ in self._modes:
                inside.enter_context(_pop_mode_temporarily())
            out = forward()
        self._not_counted += flops
        if self._memory is not None:
            self._memory.note_again(rise, out)
        return out

    def _first(self, kind: Hashable, forward: Callable[[], Tensor]) -> Tensor:
        before = self.flops
        out, rise = (forward(), 0) if self._memory is None else self._memory.rise_of(forward)
        self._known[kind] = self.flops - before, rise
        return out


class _Sum(FlopCounterMode):
    """FLOPs of everything together. Telling modules apart takes hooks, which take longer than a small network does."""

    def __enter__(self) -> Self:
        self.mode = _FewLooks(self)
        self.mode.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self.mode is not None
        self.mode.__exit__(*exception)
        self.mode = None


class _FewLooks(_FlopCounterMode):
    """Looks once, not each time, whether an operation has no FLOPs and consists of no others; most are so."""

    def __init__(self, counter: FlopCounterMode) -> None:
        super().__init__(counter)
        self._free: dict[Any, bool] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        free = self._free.get(func)
        if free is None:
            free = self._free[func] = isinstance(func, OpOverload) and self._is_free(func)
        if free:
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)

    def _is_free(self, operation: OpOverload[..., Any]) -> bool:
        counted = operation.overloadpacket in self.counter.flop_registry
        return not counted and not operation.has_kernel_for_dispatch_key(DispatchKey.CompositeImplicitAutograd)


def _kind(predict: Any, x: Tensor, t: Tensor, condition: Any) -> Hashable:
    """Forwards of one kind have the same operations on the same shapes."""
    asked = [leaf.shape if isinstance(leaf, Tensor) else type(leaf) for leaf in tree_leaves(condition)]
    half = torch.is_autocast_enabled(x.device.type)
    return predict, x.shape, x.dtype, t.shape, t.dtype, tuple(asked), half
