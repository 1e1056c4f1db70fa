"""What this machine offers to worker processes: cores and GPUs. No torch."""

import os
import re
from pathlib import Path

DEVICES = Path("/dev")


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
    return sorted((match[1] for match in found if match), key=int)


def shares(device: str, workers: int | None, threads: int | None) -> tuple[int, int, list[str]]:
    """(worker processes, threads of each, GPUs), what is not given chosen: one worker per GPU, or else per core."""
    available, cards = cores(), gpus(device)
    workers = workers or (len(cards) if cards else max(1, available // (threads or 1)))
    threads = threads or (max(1, available // workers) if cards else 1)
    return workers, threads, cards
