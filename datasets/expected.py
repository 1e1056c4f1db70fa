"""What an archive lacks of what its data set is known to have. No torch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .registry import DatasetSpec

# It says what differs; no number depends on it.
PART_OF_RESULTS = False

SHOWN = 10
"""Classes that are named."""


def shortfall(spec: DatasetSpec, facts: Mapping[str, Any], held_out: bool = False) -> str:
    """What an archive, or that of the test split, has too little or too much of; empty where it agrees.

    facts: the archive's own, of which older archives do not count their classes.
    """
    name = f"{spec.name}'s test split" if held_out else spec.name
    size = (spec.source.held_out_size if spec.source else 0) if held_out else spec.size
    parts = [f"{facts['count']} images, {name} has {size}"] if size and facts["count"] != size else []
    captions = facts.get("captions", {}).get("count", 0)
    if not held_out and captions != spec.captions:
        parts.append(f"{captions} captions, {name} has {spec.captions}")
    if spec.classes and "images_per_class" in facts:
        equal = size // spec.classes if spec.source and spec.source.balanced else 0
        parts += _classes(spec, name, facts["images_per_class"], equal)
    return "; ".join(parts)


def _classes(spec: DatasetSpec, name: str, counts: Sequence[int], equal: int) -> Iterator[str]:
    counts = [*counts, *[0] * (spec.classes - len(counts))]
    absent = [i for i, count in enumerate(counts) if not count]
    if absent:
        names = spec.source.class_names if spec.source else ()
        shown = ", ".join(names[i] if names else str(i) for i in absent[:SHOWN])
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        yield f"no image of class {shown}{more}"
    # Where all classes lack as many, the count has said it.
    elif equal and len(set(counts)) > 1:
        yield f"{min(counts)} to {max(counts)} images of a class, {name} has {equal} of each"
