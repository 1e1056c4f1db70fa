"""The networks that others publish: where each file lies, its licence, and what must be known to use it. No torch.

The table is published_networks.yaml. Authors leave the constructor's arguments out of most files, so they are here.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

# A teacher's artifact holds the configuration that it was read with.
PART_OF_RESULTS = False

TABLE = Path(__file__).with_suffix(".yaml")

Kind = Literal["teacher", "consistency", "classifier"]


@dataclass(frozen=True)
class PublishedNetwork:
    """One file.

    name: as suites write it. file: its name among the checkpoints. url: of the file, or of a folder in which it is
    called `published`. form: of forms.NAMES. data: that it was trained on. shape: (C, H, W) of a sample.
    kind: a denoiser, a few-step student in consistency models' boundary form, or a classifier of noisy images.
    classes: labels it knows, 0 if unconditional. null: whether it knows the null label of classifier-free guidance.
    labels: N of its discrete path, None on a continuous one. variance: "learned" in the second half of its channels,
    or which of DDPM's fixed ones its authors sample with. levels: of a student's two evaluations.
    config: how the form makes the network, empty where the file says so itself. tensors: see `shapes_digest`, "" where
    unknown.
    """

    name: str
    file: str
    url: str
    licence: str
    data: str
    form: str
    shape: tuple[int, int, int]
    parameters: int
    kind: Kind = "teacher"
    classes: int = 0
    null: bool = False
    labels: int | None = None
    variance: Literal["learned", "fixedlarge", "fixedsmall"] | None = None
    levels: tuple[float, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: str = ""
    sha256: str = ""
    published: str = ""

    @property
    def megabytes(self) -> float:
        """At four bytes for each parameter."""
        return 4e-6 * self.parameters

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration of a checkpoint of this form, as methods.teachers.forms reads and builds it."""
        facts = {"labels": self.labels, "kind": None if self.kind == "teacher" else self.kind}
        return {"form": self.form, **self.config, **{key: value for key, value in facts.items() if value is not None}}


class _Networks(Mapping[str, PublishedNetwork]):
    """By name, read on first use."""

    @cached_property
    def _entries(self) -> dict[str, PublishedNetwork]:
        table = yaml.load(TABLE.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return {Path(file).stem: _entry(file, facts, table) for file, facts in table["files"].items()}

    def __getitem__(self, name: str) -> PublishedNetwork:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _entry(file: str, facts: dict[str, Any], table: dict[str, Any]) -> PublishedNetwork:
    facts = {**table["networks"][facts["network"]], **facts}
    facts["url"] = table["folders"][facts.pop("folder")] + facts.get("url", file)
    facts["licence"] = table["licences"][facts["licence"]]
    facts["shape"], facts["levels"] = tuple(facts["shape"]), tuple(facts.get("levels", ()))
    del facts["network"]
    return PublishedNetwork(name=Path(file).stem, file=file, **facts)


NETWORKS: Mapping[str, PublishedNetwork] = _Networks()


def shapes_digest(shapes: Mapping[str, Iterable[int]]) -> str:
    """The sha256 of the sorted lines "name shape" of a state dict: what an architecture is known by."""
    lines = sorted(f"{name} {list(shape)}" for name, shape in shapes.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def with_tensors(digests: Iterable[str], name: str) -> PublishedNetwork | None:
    """The network whose tensors have names and shapes of one of these digests, None if there is none.

    Several files may be of one architecture: ValueError where they differ in settings and none is called `name`.
    """
    digests = set(digests)
    known = [network for network in NETWORKS.values() if network.tensors in digests]
    named = [network for network in known if network.name == name] or known
    if any(other.settings != named[0].settings for other in named):
        names = ", ".join(network.name for network in known)
        raise ValueError(f"it may be any of {names}: give it the name of the one that it is")
    return named[0] if named else None
