"""Which caption a sample is drawn from: a function of its index alone, so that seeds and methods are paired."""

from collections.abc import Iterable, Sequence
from typing import Any

from .facts import ArchiveError
from .registry import DATASETS


def captions(name: str, indices: Iterable[int] | None = None, content: str | None = None) -> list[str]:
    """The captions of samples of these indices, whatever their seed: the frozen list, again and again from its start.

    Without indices, the list. ArchiveError for a data set that has none or is not here, or whose archive's hash is
    another than `content`.
    """
    spec = DATASETS.pick(name)
    if not spec.captions:
        have = ", ".join(other.name for other in DATASETS.values() if other.captions)
        raise ArchiveError(f"{name} has no captions; {have} have")
    if (missing := spec.missing()) is not None:
        raise ArchiveError(str(missing))
    data: Any = spec.load()()
    if content is not None and data.content != content:
        raise ArchiveError(f"the archive of {name} has changed since this run was planned; run it again")
    prompts: Sequence[str] = data.prompts
    return [prompts[i % len(prompts)] for i in (range(len(prompts)) if indices is None else indices)]
