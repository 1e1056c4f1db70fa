"""Pictures of two real digits with captions that say which they are and how they stand: text to image, embedded.

scikit-learn's 8x8 digits, side by side or one above the other on 16x16 pixels. A caption's row is a picture's label.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .base import ImageSet
from .digits import digits

COUNT, HELD_OUT = 12_000, 4_000
"""Pictures to train on, and of digits that no training picture shows."""
SIDE, FREE = 8, 9
"""Of a digit in pixels; the places that it may have across the axis on which the two stand."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RELATIONS = ("left of", "right of", "above", "below")


@dataclass(frozen=True)
class Scene:
    """The `first` digit before the `second`: left of it, or above it."""

    first: int
    second: int
    stacked: bool

    @property
    def number(self) -> int:
        """0 to 199."""
        return (10 * self.first + self.second) * 2 + self.stacked


@dataclass(frozen=True)
class CaptionedSet(ImageSet):
    """Images whose label is the row of their caption in `prompts`."""

    prompts: tuple[str, ...] = ()


def _sentences() -> list[tuple[str, Scene]]:
    """Every caption with what it says, in an order that was drawn once: any part of the list is a fair one."""
    found = []
    for one, relation, other in itertools.product(range(10), RELATIONS, range(10)):
        first, second = (one, other) if relation in ("left of", "above") else (other, one)
        text = f"{_named(one)} {relation} {_named(other)}"
        found.append((text, Scene(first, second, relation in ("above", "below"))))
    return [found[i] for i in np.random.RandomState(0).permutation(len(found))]


def _named(digit: int) -> str:
    return f"{'an' if DIGITS[digit] == 'eight' else 'a'} {DIGITS[digit]}"


SENTENCES = _sentences()
PROMPTS = tuple(text for text, _ in SENTENCES)
"""400 captions: sample i of any seed is told number i mod 400."""
MEANINGS = tuple(scene.number for _, scene in SENTENCES)
"""What each caption says, 0 to 199: "a three left of an eight" and "an eight right of a three" are one meaning."""


def scenes() -> CaptionedSet:
    """12,000 pictures of four fifths of the digits; pixel values are 0..16."""
    rng = np.random.RandomState(1000)
    return _drawn("scenes", rng.randint(len(PROMPTS), size=COUNT), rng, _split()[0])


def held_out() -> CaptionedSet:
    """4,000 pictures of the other digits; picture i has caption i mod 400."""
    return _drawn("scenes-held-out", np.arange(HELD_OUT) % len(PROMPTS), np.random.RandomState(2000), _split()[1])


def _split() -> tuple[np.ndarray, np.ndarray]:
    """Rows of the digits of which training pictures are made, and of which the others are."""
    order = np.random.RandomState(0).permutation(len(digits()))
    count = 4 * len(order) // 5
    return order[:count], order[count:]


def _drawn(name: str, rows: np.ndarray, rng: np.random.RandomState, among: np.ndarray) -> CaptionedSet:
    """A picture for each caption, of digits whose rows are `among` these."""
    source, count = digits(), len(rows)
    assert source.targets is not None
    by_digit = [among[source.targets.numpy()[among] == digit] for digit in range(10)]
    said = [SENTENCES[row][1] for row in rows]
    share, shift = rng.random_sample((count, 2)), rng.randint(FREE, size=(count, 2))
    images = np.zeros((count, 1, 2 * SIDE, 2 * SIDE), np.uint8)
    pixels = source.images.numpy()
    for i, scene in enumerate(said):
        # Stacked pictures are written as if side by side, and turned.
        canvas = images[i, 0].T if scene.stacked else images[i, 0]
        for place, digit in enumerate((scene.first, scene.second)):
            own = by_digit[digit]
            drawn = pixels[own[int(share[i, place] * len(own))], 0]
            across, along = shift[i, place], place * SIDE
            canvas[across : across + SIDE, along : along + SIDE] = drawn.T if scene.stacked else drawn
    labels = torch.from_numpy(rows.astype(np.int64))
    return CaptionedSet(name, torch.from_numpy(images), labels, 16, len(PROMPTS), prompts=PROMPTS)


def meanings(rows: Tensor) -> Tensor:
    """What the captions of these rows say, int64 like `rows`."""
    return torch.tensor(MEANINGS, device=rows.device)[rows]
