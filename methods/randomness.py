"""Random numbers that depend on (seed, purpose, index) and on nothing else.

Sample i of seed s starts from the same noise for every method, batch size, worker and device count:
that is what makes comparisons paired and results resumable.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """A CPU generator of its own for each (seed, purpose, index...)."""
    return torch.Generator().manual_seed(_derived(seed, purpose, *index))


def _derived(seed: int, purpose: str, *index: int) -> int:
    key = "/".join([str(seed), purpose, *map(str, index)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little", signed=True)


def noise(seed: int, purpose: str, indices: Iterable[int], shape: Sequence[int]) -> Tensor:
    """Unit Gaussian noise (len(indices), *shape), float32 on the CPU; row k depends on indices[k] alone."""
    return _normal([_derived(seed, purpose, int(i)) for i in indices], shape)


def _normal(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    """Unit Gaussian rows (len(seeds), *shape), float32, each from its own seed."""
    rows, own = torch.empty(len(seeds), *shape), torch.Generator()
    for row, seed in zip(rows, seeds, strict=True):
        row.normal_(generator=own.manual_seed(seed))
    return rows


def categories(seed: int, purpose: str, indices: Iterable[int], weights: Sequence[float]) -> Tensor:
    """Categories int64 (len(indices),), drawn in proportion to `weights`; row k depends on indices[k] alone."""
    probabilities = torch.tensor(weights, dtype=torch.float64)
    rows = [torch.multinomial(probabilities, 1, generator=generator(seed, purpose, int(i))) for i in indices]
    return torch.cat(rows) if rows else torch.empty(0, dtype=torch.int64)


def draws_from(start: Tensor) -> Callable[[int], Tensor]:
    """draws(j): unit noise like `start` (B, ...); row k depends on j and on start[k] as float32 alone."""
    seeds: list[int] = []

    def draw(j: int) -> Tensor:
        if not seeds:
            rows = start.detach().float().cpu().contiguous().numpy()
            seeds.extend(int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:4], "little") for row in rows)
        return _normal([_derived(seed, "draw", j) for seed in seeds], start.shape[1:]).to(start)

    return draw


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Inside, torch's global generators of the CPU and of `device`, which dropout draws from, start at `seed`.

    Outside nothing changes.
    """
    # torch.manual_seed would seed every device that there might be, which takes 100 times as long.
    generators = [torch.default_generator]
    if device.type == "cuda" and torch.cuda.is_initialized():
        generators.append(torch.cuda.default_generators[device.index or 0])
    if device.type == "mps":
        generators.append(torch.mps._get_default_mps_generator())
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def drawn_seed(rng: torch.Generator) -> int:
    """A seed for `seeded`, drawn from `rng`."""
    return int(torch.randint(2**62, (), generator=rng))
