"""A saved method is a small file that says what it was fitted to, and refuses anything else."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fewstep.methods import saved
from fewstep.methods.denoiser import EDMDenoiser, Guided, from_function
from fewstep.methods.learned_solvers.bespoke import Bespoke
from fewstep.methods.networks.mlp import ResidualMLP
from fewstep.methods.paths import EDM, FlowOT
from fewstep.methods.randomness import noise
from fewstep.methods.specs.bespoke import BespokeOptions

OWN = EDM(0.01, 40.0)


def teacher(seed=0, path=OWN):
    torch.manual_seed(seed)
    network = ResidualMLP(2, width=16, blocks=1)
    nn.init.normal_(network.out.weight, std=0.3)
    denoiser = EDMDenoiser(network, 0.75, path)
    denoiser.sample_shape = (2,)
    return denoiser


@pytest.fixture
def fitted(tmp_path):
    """(a bespoke solver with parameters that are not the identity's, its file)"""
    file, options = tmp_path / "solver.safetensors", BespokeOptions(order=2)
    method = Bespoke(teacher(), options, nfe=6)
    with torch.no_grad():
        for parameter in method.solver.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    saved.save(method, "bespoke", options, file, nfe=6)
    return method, file


def test_it_samples_as_before_it_was_saved(fitted):
    method, file = fitted
    start = noise(0, "start", range(4), (2,))
    assert torch.equal(saved.load(file, teacher()).sample(start, 6), method.sample(start, 6))


def test_the_same_student_is_saved_as_the_same_bytes(fitted, tmp_path):
    method, file = fitted
    for i in range(4):
        saved.save(method, "bespoke", BespokeOptions(order=2), tmp_path / str(i), nfe=6)
        assert (tmp_path / str(i)).read_bytes() == file.read_bytes()


def test_it_is_small_and_says_what_it_is(fitted):
    _, file = fitted
    assert file.stat().st_size < 2_000
    facts = saved.read_facts(file)
    assert facts["path"] == "EDM(sigma_min=0.01, sigma_max=40.0)"
    assert (facts["order"], facts["steps"], facts["nfe"], facts["guidance"]) == ("2", "3", "6", "")
    assert facts["teacher"] == saved.fingerprint(teacher())
    assert load_file(file)["theta_t"].shape == (6,)


def test_another_teacher_is_refused_unless_it_is_a_transfer(fitted):
    method, file = fitted
    with pytest.raises(saved.MismatchError, match=r"fitted to teacher \w{16}; this is \w{16}: fit it anew, or"):
        saved.load(file, teacher(seed=1))
    moved = saved.load(file, teacher(seed=1), transfer=True)
    assert torch.equal(moved.solver.theta_s, method.solver.theta_s)


@pytest.mark.parametrize("path", [EDM(0.002, 80.0), FlowOT()])
def test_another_path_is_refused_also_as_a_transfer(fitted, path):
    with pytest.raises(saved.MismatchError, match=r"fitted on the path EDM\(sigma_min=0.01.* the teacher is on"):
        saved.load(fitted[1], teacher(path=path), transfer=True)


def test_another_guidance_scale_is_refused(fitted, tmp_path):
    with pytest.raises(saved.MismatchError, match="fitted at guidance none; the teacher has 2"):
        saved.load(fitted[1], Guided(teacher(), 2.0), transfer=True)


def test_the_fingerprint_tells_weights_paths_and_scales_apart():
    guided = [Guided(teacher(), scale) for scale in (1.0, 2.0)]
    others = [teacher(), teacher(seed=1), teacher(path=EDM(0.002, 80.0)), *guided]
    assert len({saved.fingerprint(other) for other in others}) == len(others)
    assert saved.fingerprint(teacher()) == saved.fingerprint(teacher())
    with pytest.raises(ValueError, match="without weights has no fingerprint"):
        saved.fingerprint(from_function(lambda x, t: x, FlowOT()))


def test_a_file_that_is_no_saved_method_is_told(tmp_path):
    (tmp_path / "text").write_text("not a method")
    with pytest.raises(ValueError, match="not a saved method"):
        saved.load(tmp_path / "text", teacher())
    save_file({"x": torch.zeros(1)}, tmp_path / "bare")
    with pytest.raises(ValueError, match="not a saved method: format None"):
        saved.load(tmp_path / "bare", teacher())
