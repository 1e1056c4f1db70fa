"""Multistep consistency sampling at noise levels that the options list."""

import pytest
import torch

from fewstep.methods import registry
from fewstep.methods.denoiser import EDMDenoiser, metered
from fewstep.methods.distillation.consistency import Consistency
from fewstep.methods.distillation.consistency_sampling import at_positions
from fewstep.methods.distillation.consistency_training import ConsistencyTraining
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import noise
from fewstep.methods.specs.consistency import ConsistencyOptions
from fewstep.methods.specs.consistency_training import ConsistencyTrainingOptions

RELEASED = {(22, 40): 1.3824, (17, 40): 4.3656, (18, 40): 3.5197, (106, 201): 1.9128, (67, 151): 3.9912}
"""(index of the second evaluation, points of the grid) of the released launch scripts -> its level."""


@pytest.fixture
def teacher():
    torch.manual_seed(0)
    denoiser = EDMDenoiser(ResidualMLP(2, width=8, blocks=1), 0.5, EDM())
    denoiser.sample_shape = (2,)
    return denoiser


@pytest.mark.parametrize(("index", "level"), RELEASED.items())
def test_the_released_indices_are_these_levels(index, level):
    at = at_positions(EDM(), torch.tensor(index[0] / (index[1] - 1), dtype=torch.float64))
    assert float(at) == pytest.approx(level, abs=5e-5)


@pytest.mark.parametrize("method", ["consistency", "consistency-training"])
def test_the_student_jumps_from_the_levels_that_are_listed(method, teacher):
    """x = f(80 z, 80), then noise sqrt(sigma^2 - sigma_min^2) and f again; NFE k takes the first k levels."""
    levels = (80.0, 5.0, 1.3824)
    made, options = {
        "consistency": (Consistency, ConsistencyOptions(levels=levels)),
        "consistency-training": (ConsistencyTraining, ConsistencyTrainingOptions(levels=levels)),
    }[method]
    student, start = made(teacher, options).eval(), noise(0, "start", range(4), (2,))
    f = student.average.module

    def draws(j):
        return noise(0, f"draw-{j}", range(4), (2,))

    x = f(80.0 * start, torch.tensor(80.0))
    for nfe, level in enumerate(levels, 1):
        if nfe > 1:
            x = f(x + (level**2 - 0.002**2) ** 0.5 * draws(nfe - 2), torch.tensor(level))
        with metered() as meter:
            found = student.sample(start, nfe, draws=draws)
        torch.testing.assert_close(found, x.detach(), rtol=1e-4, atol=1e-5)
        assert meter.evaluations == 4 * nfe
    with pytest.raises(UnreachableNFE, match="lists 3: at most 3 evaluations"):
        student.sample(start, 4, draws=draws)


def test_levels_that_are_listed_are_not_searched_and_have_their_nfes():
    spec = registry.method("consistency")
    options = spec.options.model_validate({"levels": [80, 1.3824]})
    assert not options.needs_quality
    assert [spec.refusal(nfe, options) for nfe in (1, 2)] == [None, None]
    assert spec.refusal(3, options) == "the option levels lists 2: at most 2 evaluations"


@pytest.mark.parametrize("levels", [[], [1.3824, 80], [80, 80], [80, 0], [80, -1], ["80"], "spred", 80, [1e9, 1]])
def test_other_levels_are_refused(levels):
    with pytest.raises(ValueError, match="levels"):
        registry.method("consistency").options.model_validate({"levels": levels})


def test_levels_beyond_the_students_are_refused(teacher):
    with pytest.raises(ValueError, match=r"levels from 200 to 1; the student knows 80 to 0\.002"):
        Consistency(teacher, ConsistencyOptions(levels=(200.0, 1.0)))
