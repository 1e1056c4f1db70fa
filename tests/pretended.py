"""A pretended GPU: CPU tensors that say cuda:0 and refuse to meet others, and a count of what the host reads from them.

The arithmetic is real. It is no proof: kernels that CUDA lacks, other roundings and speed need a GPU.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

import fewstep

ROOT = f"{Path(fewstep.__file__).parent}/"
TESTS = f"{ROOT}tests/"
CUDA = torch.device("cuda", 0)
SENDING = "sending: "
MOVES = {"_apply", "_optimizer_to_device"}
"""What moves a network or an optimiser as a whole, before and after training."""

READS = {
    Tensor.item,
    Tensor.tolist,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.__bool__,
    Tensor.__index__,
    Tensor.__contains__,
    Tensor.__format__,
    Tensor.nonzero,
    torch.nonzero,
    Tensor.masked_select,
    torch.masked_select,
    Tensor.unique,
    torch.unique,
    Tensor.equal,
    torch.equal,
    torch.allclose,
    torch.bincount,
    torch.linalg.cholesky,
    torch.linalg.eigvalsh,
    torch.linalg.eigh,
    torch.linalg.lstsq,
    torch.linalg.solve,
    torch.linspace,
    torch.arange,
    torch.full,
}
"""What waits for the device: values, and results whose shape or whose error hangs on values."""

NO_OPERATIONS = {
    "__get__",
    "__set__",
    "__repr__",
    "__deepcopy__",
    "__hash__",
    "as_subclass",
    "backward",
    "register_hook",
    "_has_compatible_shallow_copy_type",
}
COPIES = {Tensor.copy_, torch._foreach_copy_}
JOINS = {torch.stack, torch.cat}
"""These refuse a number of the other device too."""


class MeetingError(RuntimeError):
    """An operation on tensors of two devices, or with a generator of the other."""


class OnGPU(Tensor):
    """A tensor that says, inside `pretended_gpu`, that it is on cuda:0."""


def plain(value: Tensor) -> Tensor:
    with torch._C.DisableTorchFunctionSubclass():
        return value.as_subclass(Tensor)


def placed(value: Any) -> Any:
    return value.as_subclass(OnGPU) if isinstance(value, Tensor) else value


def is_cuda(device: Any) -> bool:
    return device is not None and not isinstance(device, int) and torch.device(device).type == "cuda"


def tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


class Waits(Counter[str]):
    """How often the host has waited for the device, by place: lines and functions of the package, innermost first.

    It waits where it reads, and where it sends without non_blocking. Not counted: MOVES.
    """

    def note(self, what: str = "") -> None:
        if (place := _place()) is not None:
            self[f"{what}{place}"] += 1


def _place() -> str | None:
    frame: Any = sys._getframe(2)
    found = list[str]()
    while frame is not None:
        file, name = frame.f_code.co_filename, frame.f_code.co_name
        if name in MOVES:
            return None
        if file.startswith(ROOT) and not file.startswith(TESTS):
            found.append(f"{file.removeprefix(ROOT)}:{frame.f_lineno} {name}")
        frame = frame.f_back
    return " < ".join(found)


class _Mode(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in SPECIAL and (answer := SPECIAL[func](self, args, kwargs)) is not NotImplemented:
            return answer
        given, name = tensors((args, kwargs)), getattr(func, "__name__", "")
        gpu, cuda = any(isinstance(t, OnGPU) for t in given), is_cuda(kwargs.get("device"))
        if not (gpu or cuda):
            return func(*args, **kwargs)
        if isinstance(kwargs.get("generator"), torch.Generator):
            raise MeetingError(f"{name}: a generator of the CPU for tensors of the GPU")
        if gpu and func in READS:
            self.waits.note()
        if gpu and name not in NO_OPERATIONS and func not in COPIES:
            _check(func, name, args, given)
        if kwargs.get("device") is None:
            return func(*args, **kwargs)
        out = func(*args, **{**kwargs, "device": "cpu"})
        return placed(out) if cuda else plain(out)


def _check(func: Any, name: str, args: Any, given: list[Tensor]) -> None:
    """MeetingError where tensors of both devices meet; a number of the CPU may go to the GPU, as torch has it."""
    others = [t for t in given if not isinstance(t, OnGPU)]
    written = name.endswith("_") and not name.endswith("__") and args and any(args[0] is other for other in others)
    if written or any(other.ndim or func in JOINS for other in others):
        raise MeetingError(f"{name} of tensors of the GPU and of the CPU")


def _answer(value: Any) -> Callable[..., Any]:
    """An attribute of a tensor on the GPU."""
    return lambda mode, args, kwargs: value if isinstance(args[0], OnGPU) else NotImplemented


def _grad(mode: _Mode, args: Any, kwargs: Any) -> Any:
    """torch keeps a gradient as the plain tensor that the backward pass made."""
    if not isinstance(args[0], OnGPU):
        return NotImplemented
    with torch._C.DisableTorchFunctionSubclass():
        return placed(args[0].grad)


def _moved(mode: _Mode, tensor: Tensor, gpu: bool, non_blocking: bool = False, **how: Any) -> Tensor:
    """A copy, as between devices, unless it is there already."""
    stays = isinstance(tensor, OnGPU) == gpu
    if not stays and not (gpu and non_blocking):
        mode.waits.note(SENDING if gpu else "")
    before = plain(tensor) if stays else plain(tensor).clone()
    moved = before.to(**how) if how else before
    if stays and moved is before:
        return tensor
    return moved.as_subclass(OnGPU) if gpu else moved


def _to(mode: _Mode, args: Any, kwargs: Any) -> Any:
    tensor, *rest = args
    if rest and isinstance(rest[0], Tensor):
        rest[:1] = [CUDA if isinstance(rest[0], OnGPU) else "cpu", rest[0].dtype]
    copy = kwargs.pop("copy", False)
    device, dtype, non_blocking, form = torch._C._nn._parse_to(*rest, **kwargs)
    gpu = isinstance(tensor, OnGPU) if device is None else is_cuda(device)
    if not gpu and not isinstance(tensor, OnGPU):
        return NotImplemented
    how = {"dtype": dtype or tensor.dtype, "memory_format": form or torch.preserve_format, "copy": copy}
    return _moved(mode, tensor, gpu, non_blocking, **how)


def _cpu(mode: _Mode, args: Any, kwargs: Any) -> Any:
    return _moved(mode, args[0], gpu=False)


def _cuda(mode: _Mode, args: Any, kwargs: Any) -> Any:
    return _moved(mode, args[0], gpu=True)


def _host_only(mode: _Mode, args: Any, kwargs: Any) -> Any:
    if isinstance(args[0], OnGPU):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    return NotImplemented


def _pickled(mode: _Mode, args: Any, kwargs: Any) -> Any:
    if not isinstance(args[0], OnGPU):
        return NotImplemented
    mode.waits.note()
    return plain(args[0].detach()).__reduce_ex__(*args[1:])


def _from_data(mode: _Mode, args: Any, kwargs: Any) -> Any:
    """torch.tensor of numbers that lie on the GPU."""
    gpu, sent = any(isinstance(t, OnGPU) for t in tensors(args[0])), is_cuda(kwargs.get("device"))
    if gpu or sent:
        mode.waits.note(SENDING if sent else "")
    return NotImplemented if sent or not gpu else plain(torch.tensor(*args, **kwargs))


def _new(mode: _Mode, args: Any, kwargs: Any) -> Any:
    if isinstance(args[0], OnGPU):
        mode.waits.note(SENDING)
    return NotImplemented


def _index(mode: _Mode, args: Any, kwargs: Any) -> Any:
    self, index, *value = args
    parts = tensors(index)
    if not isinstance(self, OnGPU):
        if any(isinstance(part, OnGPU) for part in parts):
            raise MeetingError("a tensor of the CPU indexed by one of the GPU")
        if any(isinstance(v, OnGPU) for v in value):
            mode.waits.note()
            return plain(self).__setitem__(index, plain(value[0]))
        return NotImplemented
    masked = any(part.dtype == torch.bool for part in parts)
    if value and isinstance(value[0], Tensor) and not isinstance(value[0], OnGPU) and value[0].ndim and parts:
        raise MeetingError("a tensor of the GPU takes values of the CPU at indices")
    numbers = any(isinstance(part, OnGPU) and part.ndim == 0 for part in parts)
    some = not value or (isinstance(value[0], Tensor) and value[0].numel() > 1)
    if (masked and some) or numbers:
        mode.waits.note()
    if any(not isinstance(part, OnGPU) and part.ndim for part in parts):
        mode.waits.note(SENDING)
    index = tuple(map(_bare, index)) if isinstance(index, tuple) else _bare(index)
    if value:
        return plain(self).__setitem__(index, _bare(value[0]))
    return plain(self)[index].as_subclass(OnGPU)


def _bare(value: Any) -> Any:
    return plain(value) if isinstance(value, Tensor) else value


def _copied(mode: _Mode, args: Any, kwargs: Any) -> Any:
    if isinstance(args[1], OnGPU) and not isinstance(args[0], OnGPU):
        mode.waits.note()
        return args[0].copy_(plain(args[1]))
    if isinstance(args[0], OnGPU) and not isinstance(args[1], OnGPU) and args[1].ndim:
        mode.waits.note(SENDING)
    return NotImplemented


def _repeated(mode: _Mode, args: Any, kwargs: Any) -> Any:
    if any(isinstance(t, OnGPU) for t in tensors(args[1:])) and "output_size" not in kwargs:
        mode.waits.note()
    return NotImplemented


def _pinned(mode: _Mode, args: Any, kwargs: Any) -> Any:
    return args[0].clone()


SPECIAL: dict[Any, Callable[[_Mode, Any, Any], Any]] = {
    Tensor.device.__get__: _answer(CUDA),
    Tensor.is_cuda.__get__: _answer(True),
    Tensor.is_cpu.__get__: _answer(False),
    Tensor.get_device: _answer(0),
    Tensor.grad.__get__: _grad,
    Tensor.to: _to,
    Tensor.cpu: _cpu,
    Tensor.cuda: _cuda,
    Tensor.numpy: _host_only,
    Tensor.__array__: _host_only,
    Tensor.__reduce_ex__: _pickled,
    Tensor.__getitem__: _index,
    Tensor.__setitem__: _index,
    Tensor.copy_: _copied,
    Tensor.repeat_interleave: _repeated,
    torch.repeat_interleave: _repeated,
    torch.tensor: _from_data,
    Tensor.pin_memory: _pinned,
    Tensor.new_tensor: _new,
}


@contextmanager
def pretended_gpu() -> Iterator[Waits]:
    """Inside, what is moved to or made on "cuda" is on the pretended GPU; the count of the host's reads from it."""
    waits, before = Waits(), torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with patch.object(torch._C, "_group_tensors_by_device_and_dtype", _grouped), _Mode(waits):
            yield waits
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


_group = torch._C._group_tensors_by_device_and_dtype


def _grouped(*args: Any) -> Any:
    """torch groups an optimiser's tensors below where subclasses are asked for their device."""
    groups = _group(*args).items()
    return {(CUDA if isinstance(found[0][0][0], OnGPU) else device, kind): found for (device, kind), found in groups}


class PretendedAccelerator(CUDAAccelerator):
    """What Lightning's trainer takes for a GPU; for use inside `pretended_gpu`."""

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        pass

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        return [0]

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [CUDA]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True
