"""fewstep: few-step diffusion sampling, compared fairly.

Importing the package loads nothing heavy: the few public names are fetched when they are first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "from_function": "methods.denoiser",
    "solvers": "methods.solvers",
    "Method": "methods.method",
    "VPLinear": "methods.paths",
    "VPCosine": "methods.paths",
    "EDM": "methods.paths",
    "FlowOT": "methods.paths",
    "FlowCosine": "methods.paths",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{_PUBLIC[name]}", __name__)
    return module if module.__name__.endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return ["__version__", *_PUBLIC]
