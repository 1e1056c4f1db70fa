"""Three averages of weights, against the authors' numbers and their closed forms."""

import torch
from torch import nn

from fewstep.methods.ema import Average, bias_corrected_ema, ema, halflife_decay, halflife_ema

EXACT = {"rtol": 1e-12, "atol": 1e-14}


def followed(update, init, sequence):
    """The average after each update with sequence[k], from `init`."""
    average, seen = init.clone(), []
    for count, value in enumerate(sequence):
        update([average], [value], count)
        seen.append(average.clone())
    return torch.stack(seen)


def momenta(arrays, prefix):
    found = {name: float(name.removeprefix(prefix)) for name in arrays.names if name.startswith(prefix)}
    assert found
    return found.items()


def test_reference_bias_corrected_average(reference):
    arrays = reference("distill/ema")
    for name, momentum in momenta(arrays, "tract_ema_m"):
        seen = followed(bias_corrected_ema(momentum), arrays["init"], arrays["sequence"])
        torch.testing.assert_close(seen, arrays[name], **EXACT)


def test_reference_plain_average(reference):
    arrays = reference("distill/ema")
    for name, momentum in momenta(arrays, "plain_ema_m"):
        seen = followed(ema(momentum), arrays["init"], arrays["sequence"])
        torch.testing.assert_close(seen, arrays[name], **EXACT)


def test_reference_halflife_average(reference):
    arrays = reference("distill/ema")
    cases = [name for name in arrays.names if name.startswith("halflife_") and not name.endswith("_beta")]
    assert cases
    for name in cases:
        _, halflife, ramp, batch = name.split("_")
        halflife, batch = float(halflife[2:]), int(batch[1:])
        # "ramp005" is 0.05.
        ramp = None if ramp == "noramp" else float(f"{ramp[4]}.{ramp[5:]}")
        seen = followed(halflife_ema(halflife, batch, ramp), arrays["init"], arrays["sequence"])
        torch.testing.assert_close(seen, arrays[name], **EXACT)
        for k, decay in enumerate(arrays[f"{name}_beta"].tolist()):
            assert abs(halflife_decay(k * batch, halflife, batch, ramp) - decay) < 1e-12


def test_bias_corrected_average_is_the_weighted_mean_of_what_it_saw():
    """TR-7: p_k = sum_j (1 - m) m^(k - j) q_j/(1 - m^k), whatever it started from."""
    values = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for momentum in (0.0, 0.5, 0.99):
        seen = followed(bias_corrected_ema(momentum), torch.full((4,), 1e6, dtype=torch.float64), values)
        for k in range(1, 10):
            weights = torch.tensor([(1 - momentum) * momentum ** (k - j) for j in range(1, k + 1)], dtype=torch.float64)
            closed = (weights[:, None] * values[:k]).sum(0) / (1 - momentum**k)
            torch.testing.assert_close(seen[k - 1], closed, **EXACT)


def test_a_models_average_counts_its_updates():
    """What an average hands to its rule is the number of updates before it, and the first one copies."""
    model = nn.Linear(3, 2).double()
    values = [torch.full((2, 3), float(k), dtype=torch.float64) for k in (5, 1, 2)]
    average = Average(model, bias_corrected_ema(0.5))
    for value in values:
        with torch.no_grad():
            model.weight.copy_(value)
        average.update_parameters(model)
    expected = (0.25 * values[0] + 0.5 * values[1] + values[2]) / 1.75
    torch.testing.assert_close(average.module.weight, expected)
    assert not average.module.weight.requires_grad
