"""What this machine offers to worker processes: cores and GPUs. No torch, unless a suite asks for a GPU."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from .errors import InputError

# Where a task runs changes no number beyond rounding.
PART_OF_RESULTS = False

TEACHER_THREADS = 2
"""Of a teacher's training, which other tasks wait for. The same on every machine, whatever its cores and workers:
another count rounds otherwise, and its students would follow.
"""
DEVICES = Path("/dev")
"""Where Linux has one file per GPU."""
NO_FLOAT64 = (
    "must be auto, cpu or cuda (Apple's GPUs have no float64, in which exact solutions, closed-form teachers and the"
    " targets of some methods are computed)"
)


def device_refusal(device: str) -> str | None:
    """What a suite's `device` must be, and why; None for auto, cpu and cuda."""
    if device in ("auto", "cpu", "cuda"):
        return None
    if device.startswith("cuda:"):
        return "must be cuda, all GPUs that are seen (CUDA_VISIBLE_DEVICES chooses among them)"
    return NO_FLOAT64 if device.startswith("mps") else "must be auto, cpu or cuda"


def require(device: str) -> None:
    """InputError if a suite's `device` cannot be had here. Imports torch for cuda."""
    if device != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        reason = "torch is built without CUDA" if torch.version.cuda is None else "torch sees no GPU"
        raise InputError(f"device: cuda: {reason} on this machine; set device: auto or cpu")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus(device: str) -> list[str]:
    """The GPUs that tasks on a suite's `device` may use, as CUDA_VISIBLE_DEVICES names them."""
    if device == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in DEVICES.glob("nvidia*"))
    return sorted((match[1] for match in found if match), key=int) or _listed_by_driver()


def _listed_by_driver() -> list[str]:
    """Windows has no such files, but the driver's own program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, encoding="utf-8", timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU (\d+):", listed.stdout, re.MULTILINE)


def shares(device: str, workers: int | None, threads: int | None, devices: int = 1) -> tuple[int, int, list[str]]:
    """(worker processes, threads of each, the GPUs of each), what is not given chosen: one worker for each `devices`
    GPUs, or else cores. InputError if there are fewer GPUs than one worker needs.
    """
    available, single = cores(), gpus(device)
    if single and len(single) < devices:
        raise InputError(f"--devices {devices}: this machine has {len(single)} GPU{'s' * (len(single) != 1)}")
    whole = len(single) // devices * devices
    cards = [",".join(single[first : first + devices]) for first in range(0, whole, devices)]
    workers = workers or (len(cards) if cards else max(1, available // ((threads or 1) * devices)))
    threads = threads or (max(1, available // (workers * devices)) if cards else 1)
    return workers, threads, cards
