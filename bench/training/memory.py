"""What a training step holds at its peak: weights, averages, gradients, optimiser states, activations."""

import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
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
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._note(leaf)
        return out

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


class MemoryCallback(Callback):
    """Measures one real step of each kind, its second: by then the optimisers have their states.

    Bytes of tensors, the teacher's weights among them; not the libraries' code, nor an allocator's reserve.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._tracking = ExitStack()
        self._meter: LiveBytes | None = None
        self._kind = ""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, Trainable)
        self._kind = pl_module.step_kind(self.ledger.steps)
        if self._kind in self.ledger.step_uses and self._kind not in self.ledger.peak_bytes:
            self._meter = self._tracking.enter_context(LiveBytes(_held(pl_module, trainer.optimizers)))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._meter is not None:
            self.ledger.peak_bytes[self._kind] = self._meter.peak
            self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        self._tracking.close()
        self._meter = None


def _held(module: Trainable, optimizers: Iterable[torch.optim.Optimizer]) -> list[Tensor]:
    """What is alive before a step: weights and buffers, the teacher's too, gradients, optimiser states."""
    networks = [module, module.teacher] if isinstance(module, Method) else [module]
    held: list[Tensor] = []
    for network in networks:
        held += [*network.parameters(), *network.buffers()]
        held += [p.grad for p in network.parameters() if p.grad is not None]
    for optimizer in optimizers:
        held += [value for value in tree_leaves(dict(optimizer.state)) if isinstance(value, Tensor)]
    return held
