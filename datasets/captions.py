"""Which caption a sample is drawn from: a function of its index alone, so that seeds and methods are paired."""

from collections.abc import Iterable, Sequence

from .facts import ArchiveError
from .registry import DATASETS


def captions(name: str, indices: Iterable[int] | None = None) -> list[str]:
    """The captions of samples of these indices, whatever their seed: the frozen list, again and again from its start.

    Without indices, the list. ArchiveError for a data set that has none or is not here.
    """
    spec = DATASETS.pick(name)
    if not spec.captions:
        have = " and ".join(other.name for other in DATASETS.values() if other.captions)
        raise ArchiveError(f"{name} has no captions; {have} have")
    if (missing := spec.missing()) is not None:
        raise ArchiveError(str(missing))
    prompts: Sequence[str] = spec.load()().prompts
    return [prompts[i % len(prompts)] for i in (range(len(prompts)) if indices is None else indices)]
