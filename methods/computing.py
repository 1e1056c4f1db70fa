"""How networks are computed: in which precision, in which memory format, compiled or not.

The network alone: times, solvers, losses, averages and parameters stay in float32, as do exact solutions, whatever
is asked for.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
BACKEND = "inductor"
FORMS = 64
"""Of one network that are compiled: by batch size, by which gradients are needed. Further ones run as written."""

_half: list[torch.dtype] = []
_compiled: list[bool] = []


@contextmanager
def computed(
    networks: Iterable[nn.Module], precision: str = "float32", channels_last: bool = False, compile: bool = False
) -> Iterator[None]:
    """Inside, every network is computed in the precision; these, in a form that they keep, as asked for.

    precision: "float32"; "tf32", in which a GPU rounds the factors of products to 10 bits; "bf16" or "fp16" for
    products and convolutions (autocast). channels_last: the memory format of networks on pictures. compile: by
    torch.compile, at the first evaluation of each shape.
    """
    with ExitStack() as inside:
        inside.enter_context(_products(tf32=precision == "tf32"))
        if precision in HALF:
            inside.enter_context(_pushed(_half, HALF[precision]))
        if compile:
            inside.enter_context(_pushed(_compiled, True))
            inside.enter_context(torch._dynamo.config.patch(recompile_limit=FORMS))
        for network in networks:
            if channels_last:
                network.to(memory_format=torch.channels_last)
            if compile:
                network.compile(backend=BACKEND)
        yield


def evaluation(device: str) -> AbstractContextManager[object]:
    """Around one evaluation of a network on a device of this type."""
    return torch.autocast(device, _half[-1]) if _half else nullcontext()


@contextmanager
def exactly() -> Iterator[None]:
    """Inside, networks are computed in float32 as they were written: what samples are compared with depends on no
    option.
    """
    kept = _half[:]
    _half.clear()
    try:
        with _products(tf32=False), counted():
            yield
    finally:
        _half.extend(kept)


def counted() -> AbstractContextManager[object]:
    """Inside, networks run as they were written, not as they were compiled, for what counts their operations."""
    return torch.compiler.set_stance("force_eager") if _compiled else nullcontext()


@contextmanager
def _pushed(stack: list[Any], value: Any) -> Iterator[None]:
    stack.append(value)
    try:
        yield
    finally:
        stack.pop()


@contextmanager
def _products(tf32: bool) -> Iterator[None]:
    before, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        with cudnn.flags(enabled=cudnn.enabled, deterministic=cudnn.deterministic, allow_tf32=tf32):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
