"""The run folders that a page is about: what made them, and where their files are from the page."""

import hashlib
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from .. import run_folder
from ..run_folder import FILES, REPORT, RESULTS, SUITE

LINKED = [name for name in FILES if name not in (REPORT, run_folder.FIGURES, run_folder.PICTURES)]
ENVIRONMENT = {
    "fewstep": "fewstep",
    "git_commit": "commit",
    "python": "Python",
    "torch": "torch",
    "lightning": "Lightning",
    "platform": "platform",
    "device": "device",
    "threads": "threads per worker",
}


@dataclass(frozen=True)
class Source:
    """One run folder, called `label`. page: the folder that the page is written to."""

    label: str
    folder: Path
    page: Path

    @cached_property
    def facts(self) -> dict[str, Any]:
        return run_folder.facts(self.folder)

    @cached_property
    def pictures(self) -> dict[str, np.ndarray]:
        return run_folder.pictures(self.folder)

    @property
    def suite(self) -> str:
        """The suite as the words of a command: the file in the folder, or of older folders its name.

        Empty for results that no suite made.
        """
        if (self.folder / SUITE).is_file():
            return shlex.quote(str(_shown(self.folder) / SUITE))
        return shlex.quote(str(self.facts["suite"])) if "suite" in self.facts else ""

    @property
    def made(self) -> list[tuple[str, str]]:
        """(what, text) of the command, the dates, the suite and the environment, as far as they are known."""
        argv = [str(word) for word in self.facts.get("argv", [])]
        found = {
            "command": shlex.join(argv),
            "started": str(self.facts.get("started", "")),
            "ended": str(self.facts.get("ended", "")),
            "suite": self._hash(SUITE),
            "results": self._hash(RESULTS),
        }
        environment = self.facts.get("environment", {})
        found |= {label: str(environment[name]) for name, label in ENVIRONMENT.items() if environment.get(name)}
        return [(what, text) for what, text in found.items() if text]

    @property
    def links(self) -> list[tuple[str, str, str]]:
        """(name, address from the page, what it holds) of the files of the folder."""
        there = (name for name in LINKED if (self.folder / name).is_file())
        return [(name, _address(self.folder / name, self.page), FILES[name]) for name in there]

    def _hash(self, name: str) -> str:
        file = self.folder / name
        return f"{name}, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}" if file.is_file() else ""


def sources(folders: Mapping[str, Path], target: Path) -> list[Source]:
    """The folders by label, of a page that is written as `target`."""
    return [Source(label, folder, target.parent) for label, folder in folders.items()]


def _shown(folder: Path) -> Path:
    """The folder from here if it is below, otherwise by its name alone: a page may be read elsewhere."""
    if not folder.is_absolute():
        return folder
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else Path(folder.name)


def _address(file: Path, page: Path) -> str:
    """A relative URL, which never begins with what could be read as a scheme."""
    relative = Path(os.path.relpath(file.resolve(), page.resolve())).as_posix()
    return quote(relative if relative.startswith("../") else f"./{relative}")
