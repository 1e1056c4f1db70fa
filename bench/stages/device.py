"""Which device a suite's `device` means on this machine."""

import torch

from ..errors import TaskError


def accelerator(device: str) -> str:
    """ "cpu" or "cuda"; "auto" takes a GPU if there is one. TaskError if a GPU is asked for and absent."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise TaskError("the suite asks for device cuda, and torch sees no GPU; set device: auto or cpu")
    return device
