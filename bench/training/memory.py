"""What a training step holds at its peak: weights, averages, gradients, optimiser states, activations.

Bytes of tensors, the teacher's weights among them; not the libraries' code, nor an allocator's reserve.
"""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...methods.method import Method, Trainable
from .ledger import Ledger


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of `held` and of every tensor made inside the block, from when it is made until it is freed.

    Tensors that share a storage count once. `peak` is the most that was alive at any time.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._alive: set[int] = set()
        for tensor in held:
            self._note(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in [out] if isinstance(out, Tensor) else tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        return out

    def rise_of(self, forward: Callable[[], Tensor]) -> tuple[Tensor, int]:
        """forward(), and how far it rises above what is alive before it."""
        peak, before = self.peak, self.live
        self.peak = self.live
        out = forward()
        rise = self.peak - before
        self.peak = max(peak, self.peak)
        return out, rise

    def note_again(self, rise: int, out: Tensor) -> None:
        """`out` was made outside, by what rises as far as it did before."""
        self.peak = max(self.peak, self.live + rise)
        self._note(out)

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.live -= size


def is_measured(kind: str, ledger: Ledger, optimizers: Iterable[torch.optim.Optimizer]) -> bool:
    """Whether the next step, of this kind, is the one whose memory the ledger keeps.

    It is the kind's second, or its first if the optimisers have their states by then.
    """
    return kind not in ledger.peak_bytes and (kind in ledger.step_uses or all(opt.state for opt in optimizers))


def held(module: Trainable, optimizers: Iterable[torch.optim.Optimizer]) -> list[Tensor]:
    """What is alive before a step: weights and buffers, the teacher's too, gradients, optimiser states."""
    networks = [module, module.teacher] if isinstance(module, Method) else [module]
    tensors: list[Tensor] = []
    for network in networks:
        tensors += [*network.parameters(), *network.buffers()]
        tensors += [p.grad for p in network.parameters() if p.grad is not None]
    for optimizer in optimizers:
        tensors += [value for value in tree_leaves(dict(optimizer.state)) if isinstance(value, Tensor)]
    return tensors
