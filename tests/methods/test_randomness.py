"""Noise is a function of (seed, purpose, index)."""

import torch

from fewstep.methods.randomness import draws_from, generator, noise


def test_a_samples_noise_does_not_depend_on_the_batch():
    together = noise(0, "start", range(10), (1, 8, 8))
    split = torch.cat([noise(0, "start", rows, (1, 8, 8)) for rows in (range(3), range(3, 4), range(4, 10))])
    assert torch.equal(together, split)
    assert torch.equal(noise(0, "start", [7, 2], (1, 8, 8)), together[[7, 2]])


def test_seed_purpose_and_index_all_matter():
    reference = noise(0, "start", [1], (4,))
    for other in (noise(1, "start", [1], (4,)), noise(0, "draw-0", [1], (4,)), noise(0, "start", [2], (4,))):
        assert not torch.equal(reference, other)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    noise(5, "start", range(4), (2,))
    assert torch.equal(torch.randn(3), expected)


def test_noise_is_unit_gaussian():
    x = noise(0, "start", range(4000), (16,)).double()
    assert abs(float(x.mean())) < 0.02
    assert abs(float(x.std()) - 1) < 0.01
    rows = torch.corrcoef(x[:200])
    assert float((rows - torch.eye(200)).abs().max()) < 0.99


def test_the_stream_is_frozen():
    """A change of the stream would silently unpair new results from old ones."""
    assert int(torch.randint(2**31, (), generator=generator(0, "start", 0))) == 276092601


def test_draws_of_a_start_depend_on_its_own_row_and_the_draw_alone():
    start = torch.randn(4, 2, 3, dtype=torch.float64, generator=generator(0, "start"))
    draws = draws_from(start)
    assert torch.equal(draws(1), torch.cat([draws_from(row[None])(1) for row in start]))
    assert torch.equal(draws(1), draws(1))
    assert torch.equal(draws(1), draws_from(start.float())(1).double())
    assert not torch.equal(draws(1), draws(2))
    assert not torch.equal(draws(1)[0], draws(1)[1])
