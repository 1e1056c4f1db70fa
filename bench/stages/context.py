"""What a stage is given: its parameters, its inputs' artifacts, a folder to write to."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..store import Artifact


@dataclass(frozen=True)
class Context:
    key: str
    label: str
    params: dict[str, Any]
    inputs: dict[str, Artifact]
    folder: Path
    on_progress: Callable[[float], None] = field(default=lambda share: None)
