"""The NFEs that a method reaches, found by asking it."""

from collections.abc import Iterator, Sequence

from ...methods.specs.base import MethodSpec

TRIED = 32
"""The largest NFE that is asked for."""


def reachable(spec: MethodSpec) -> tuple[list[int], dict[str, list[int]]]:
    """What 1 to TRIED evaluations come to with the default options: (those reached, reason -> those refused)."""
    reached: list[int] = []
    refused: dict[str, list[int]] = {}
    for nfe in range(1, TRIED + 1):
        reason = spec.refusal(nfe)
        if reason is None:
            reached.append(nfe)
        else:
            refused.setdefault(reason, []).append(nfe)
    return reached, refused


def progression(numbers: Sequence[int]) -> str:
    """Increasing numbers, equal steps shortened: 1, 2, 4, 8; 3 to 32; 1, 3, 5, ..., 31."""
    return ", ".join(_shortened(numbers))


def _shortened(numbers: Sequence[int]) -> Iterator[str]:
    i = 0
    while i < len(numbers):
        j = i + 1
        while j + 1 < len(numbers) and numbers[j + 1] - numbers[j] == numbers[i + 1] - numbers[i]:
            j += 1
        j = min(j, len(numbers) - 1)
        if j - i >= 2 and numbers[i + 1] - numbers[i] == 1:
            yield f"{numbers[i]} to {numbers[j]}"
        elif j - i >= 4:
            yield f"{numbers[i]}, {numbers[i + 1]}, {numbers[i + 2]}, ..., {numbers[j]}"
        else:
            j = i
            yield str(numbers[i])
        i = j + 1
