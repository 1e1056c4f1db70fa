"""Numbers of a module's state that say what to do next, kept where they can be read without a wait."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn


class OnHost(nn.Module):
    """A module whose buffers `on_host` stay on the CPU wherever it goes: counters and phases, not what networks see."""

    on_host: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        stay = {name: self._buffers[name] for name in self.on_host if name in self._buffers}
        super()._apply(fn, recurse)
        self._buffers.update(stay)
        return self
