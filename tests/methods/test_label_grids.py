"""Grids of labels: diffusers' spacings, on the path that the teacher was trained on, and where they are refused."""

import pytest
import torch
from pydantic import ValidationError

from fewstep.methods import solvers
from fewstep.methods.denoiser import NetworkDenoiser, from_function
from fewstep.methods.paths import EDM, VPDiscrete
from fewstep.methods.solvers.grids import times
from fewstep.methods.specs.ddim import DDIMOptions
from fewstep.methods.specs.solver import Grid
from fewstep.methods.teachers.preconditioned import denoiser
from fewstep.methods.teachers.pretrained import Pretrained

PATH = VPDiscrete()
LABELS = [
    ({"spacing": "labels-leading"}, 4, [750, 500, 250, 0, -1]),
    ({"spacing": "labels-leading", "offset": 1}, 3, [667, 334, 1, -1]),
    ({"spacing": "labels-leading", "offset": 1, "end": "min"}, 3, [667, 334, 1, 0]),
    ({"spacing": "labels-leading", "offset": 1, "parts": "steps+1"}, 3, [751, 501, 251, -1]),
    ({"spacing": "labels-trailing"}, 4, [999, 749, 499, 249, -1]),
    ({"spacing": "labels-trailing", "end": "min"}, 3, [999, 666, 332, 0]),
    ({"spacing": "labels-linspace"}, 3, [999, 499.5, 0, -1]),
    ({"spacing": "labels-linspace", "parts": "steps+1"}, 4, [999, 749, 500, 250, -1]),
]


@pytest.mark.parametrize(("grid", "steps", "labels"), LABELS)
def test_labels_are_those_of_the_spacing(grid, steps, labels):
    found = PATH.label(times(Grid(**grid), PATH, steps))
    torch.testing.assert_close(found, torch.tensor(labels, dtype=torch.float64), rtol=0, atol=1e-9)


def test_a_converted_teacher_is_asked_at_its_own_labels_and_its_eps_is_taken():
    asked = []

    class Network(torch.nn.Module):
        def forward(self, x, label, condition=None):
            asked.append(label[0].item())
            return 0.5 * x

    found = Pretrained(Network(), PATH, "eps", PATH.label, (3, 4, 4))
    noise = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    solver = solvers.get("dpmpp-2m", grid={"spacing": "labels-trailing"})
    x = solver.sample(denoiser(found, 0.002, 80.0), noise, nfe=5)
    assert asked == [999, 799, 599, 399, 199]
    assert torch.equal(x, solver.sample(NetworkDenoiser(found.network, PATH, "eps", PATH.label), noise, nfe=5))


def test_unit_noise_is_of_size_one_on_a_variance_preserving_path_and_root_of_one_plus_sigma_squared_on_edms():
    starts = []
    noise = torch.ones(1, 2)
    for path, start in ((PATH, "unit"), (PATH, "scaled"), (EDM(0.01, 3.0), "unit"), (EDM(0.01, 3.0), "scaled")):
        seen = []
        solver = solvers.get("euler", grid={"spacing": "uniform"}, start=start)
        solver.sample(from_function(lambda x, t, seen=seen: seen.append(x) or 0 * x, path), noise, nfe=2)
        starts.append(float(seen[0][0, 0]))
    assert starts == pytest.approx([1.0, float(PATH.sigma(1.0)), 10**0.5, 3.0])


REFUSED = [
    ({"spacing": "labels-linspace", "offset": 1}, "offset belongs to labels-leading"),
    ({"spacing": "karras", "parts": "steps+1"}, "parts belongs to"),
    ({"spacing": "labels-trailing", "parts": "steps+1"}, "parts belongs to"),
    ({"spacing": "labels-trailing", "noise_min": 0.1}, "the labels of its path as its ends: leave out noise_min"),
    ({"spacing": "ddim-quad", "noise_max": 1.0}, "leave out noise_max"),
    ({"spacing": "respaced", "noise_min": 0.1, "noise_max": 1.0}, "leave out noise_min and noise_max"),
]


@pytest.mark.parametrize(("grid", "says"), REFUSED)
def test_what_a_spacing_does_not_have_is_refused(grid, says):
    with pytest.raises(ValidationError, match=says):
        Grid(**grid)


def test_grids_that_would_repeat_or_leave_the_labels_are_refused():
    cases = [
        ({"spacing": "labels-leading", "end": "min"}, 4, "give offset: 1, or end: zero"),
        ({"spacing": "labels-leading", "offset": 900}, 4, "the last is 999"),
        ({"spacing": "labels-trailing"}, 1001, "1001 steps on a path of 1000 labels"),
    ]
    for grid, steps, says in cases:
        with pytest.raises(ValueError, match=says):
            times(Grid(**grid), PATH, steps)
    with pytest.raises(ValueError, match="needs the path VPDiscrete"):
        solvers.get("euler", grid={"spacing": "labels-trailing"}).sample(
            from_function(lambda x, t: x, EDM()), torch.ones(1, 2), nfe=2
        )
    with pytest.raises(ValidationError, match="not the next"):
        DDIMOptions(grid={"spacing": "labels-linspace"})
