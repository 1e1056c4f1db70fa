"""Networks of every prediction and path in EDM's form: the same D, the network itself on its path, half precision."""

import copy

import pytest
import torch
from torch import nn

from fewstep.methods.denoiser import ChangeOfPath, Conditioned, EDMDenoiser, Guided, NetworkDenoiser, metered
from fewstep.methods.distillation.boot import Boot
from fewstep.methods.networks.dhariwal import DhariwalUNet
from fewstep.methods.networks.song import SongUNet
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.paths import EDM, FlowOT, VPCosine, VPDiscrete, VPLinear, linear_betas
from fewstep.methods.saved import fingerprint
from fewstep.methods.specs.boot import BootOptions
from fewstep.methods.teachers.preconditioned import c_noise, denoiser
from fewstep.methods.teachers.pretrained import Pretrained

SHAPE = (3, 8, 8)
PATHS = {
    "discrete": VPDiscrete(linear_betas(), t_min=1e-3),
    "linear": VPLinear(t_min=1e-5),
    "cosine": VPCosine(),
    "flow": FlowOT(),
    "exploding": EDM(0.02, 100.0),
}
KINDS = [(path, kind) for path in ("discrete", "linear", "cosine") for kind in ("eps", "v", "x0")]
KINDS += [("flow", "velocity"), ("exploding", "score"), ("exploding", "eps")]


def drawn(network, seed=0, size=0.2):
    """The network with every weight drawn, so that each contributes."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(size * torch.randn(parameter.shape, generator=rng))
    return network.eval()


def backbones(classes=0):
    torch.manual_seed(0)
    options = {"model_channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
    small = SmallUNet(3, 8, (1, 2), classes=classes, embedding=16)
    return {
        "small": drawn(small),
        "song": Rows(drawn(SongUNet(8, 3, 3, label_dim=classes, **options)), classes),
        "ncsnpp": Rows(drawn(SongUNet(8, 3, 3, label_dim=classes, embedding_type="fourier", **options)), classes),
        "dhariwal": Rows(drawn(DhariwalUNet(8, 3, 3, label_dim=classes, **options)), classes),
    }


class Rows(nn.Module):
    """EDM's backbones take one-hot rows."""

    def __init__(self, model, classes):
        super().__init__()
        self.model, self.classes = model, classes

    def rows(self, labels):
        return None if labels is None or not self.classes else torch.eye(self.classes)[labels]

    def forward(self, x, time, condition=None, embedding=None):
        return self.model(x, time, self.rows(condition), embedding=embedding)

    def embed(self, time, condition=None):
        return self.model.embed(time, self.rows(condition))


class Recording(nn.Module):
    """What the network was called with."""

    def __init__(self, network):
        super().__init__()
        self.network, self.calls = network, []

    def forward(self, x, time, condition=None):
        self.calls.append((x, time))
        return self.network(x, time, condition)


def published(path="discrete", prediction="eps", network=None, **facts):
    path = PATHS[path]
    label = path.label if isinstance(path, VPDiscrete) else lambda t: 999 * t
    return Pretrained(network or drawn(SmallUNet(3, 8, (1, 2))), path, prediction, label, SHAPE, **facts)


def samples(count=4, seed=1):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def asked_on_its_path(found):
    return NetworkDenoiser(found.network, found.path, found.prediction, found.time_of)


@pytest.mark.parametrize(("path", "prediction"), KINDS)
def test_the_edm_form_is_the_network_under_a_change_of_path(path, prediction):
    found = published(path, prediction)
    teacher = denoiser(found, 0.002, 80.0)
    expected = ChangeOfPath(asked_on_its_path(found), teacher.path)
    x = samples()
    ends = teacher.path.t_min, teacher.path.t_max
    for s in [*torch.logspace(*(float(torch.tensor(end).log10()) for end in ends), 9, dtype=torch.float64), *ends]:
        state = (1 + float(s) ** 2) ** 0.5 * x
        D, right = teacher(state, s), expected(state, s)
        assert (D - right).square().mean().sqrt() <= 1e-5 * right.square().mean().sqrt()
        # And by c_skip x + c_out F, as students with scalings of their own ask it.
        by_F = EDMDenoiser.denoise(teacher, state, torch.as_tensor(s), None)
        assert (by_F - right).square().mean().sqrt() <= 1e-5 * right.square().mean().sqrt()
        assert right.std() > 1e-3


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_the_f_of_a_network_is_that_of_the_papers_table(prediction):
    """sigma_data = 1: F = -v, s u - sqrt(1 + s^2) eps, (sqrt(1 + s^2) x0 - u)/s."""
    found = published("discrete", prediction)
    teacher, u = denoiser(found, 0.0, 80.0), samples()
    for s in (0.05, 1.0, 14.0):
        level = torch.tensor(s, dtype=torch.float64)
        output = found.network(u, found.time_of(found.path.time_at(level)).float().expand(len(u)))
        root = (1 + s**2) ** 0.5
        F = {"eps": s * u - root * output, "v": -output, "x0": (root * output - u) / s}[prediction]
        found_F = teacher.network(u, (level.log() / 4).expand(len(u)))
        torch.testing.assert_close(found_F, F, rtol=1e-4, atol=1e-4 / min(1.0, s))


def test_samples_have_levels_of_their_own():
    teacher, x = denoiser(published("discrete", "v"), 0.002, 80.0), samples()
    s = torch.tensor([0.05, 0.5, 3.0, 12.0])
    one_by_one = torch.cat([teacher(x[i : i + 1], float(s[i])) for i in range(4)])
    torch.testing.assert_close(teacher(x, s), one_by_one, rtol=1e-4, atol=1e-4)


def test_it_solves_between_the_levels_that_the_network_knows():
    chain = denoiser(published("discrete"), 0.002, 80.0)
    assert (round(chain.path.t_min, 4), round(chain.path.t_max, 1)) == (0.01, 157.4) or chain.path.t_max == 80.0
    assert denoiser(published("flow", "velocity"), 0.002, 80.0).path == EDM(0.002, 80.0)
    assert denoiser(published("exploding", "score"), 0.002, 80.0).path == EDM(0.02, 80.0)


def test_on_the_path_of_its_training_it_is_the_network_itself():
    found = published("discrete", "eps")
    teacher = denoiser(found, 0.002, 80.0)
    teacher.sample_shape, teacher.sample_bound, teacher.class_counts = SHAPE, 1.0, (3, 4)
    own = teacher.on(teacher.trained_path)
    assert isinstance(own, NetworkDenoiser)
    assert own.network is found.network
    assert own.predicts_eps
    assert (own.sample_shape, own.sample_bound, own.class_counts) == (SHAPE, 1.0, (3, 4))
    x, t = samples(), (torch.tensor(700, dtype=torch.float64) + 1) / 1000
    assert torch.equal(own(x, t), asked_on_its_path(found)(x, t))
    with metered() as meter:
        own(x, t)
    assert (meter.evaluations, meter.forwards) == (4, 4)
    assert isinstance(teacher.on(VPCosine()), ChangeOfPath)
    assert teacher.on(VPCosine()).on(teacher.trained_path).network is found.network


def test_guidance_and_conditions_go_along_to_the_path_of_its_training():
    teacher = denoiser(published(network=drawn(SmallUNet(3, 8, (1, 2), classes=3)), classes=3), 0.002, 80.0)
    x, labels, t = samples(), torch.tensor([0, 1, 2, 0]), 0.5
    guided = Guided(teacher, 2.0).on(teacher.trained_path)
    own = teacher.on(teacher.trained_path)
    assert isinstance(guided, Guided)
    assert torch.equal(guided(x, t, labels), own(x, t) + 2.0 * (own(x, t, labels) - own(x, t)))
    given = Conditioned(teacher, labels).on(teacher.trained_path)
    assert torch.equal(given(x, t), own(x, t, labels))
    assert given.predicts_eps


def test_its_weights_are_there_once_and_copies_are_independent():
    found = published("discrete", "v")
    teacher = denoiser(found, 0.002, 80.0)
    assert len(teacher.state_dict()) == len(found.network.state_dict())
    copied = copy.deepcopy(teacher)
    drawn(copied, seed=9)
    x = samples()
    assert not torch.allclose(copied(x, 1.0), teacher(x, 1.0))
    copied.load_state_dict(teacher.state_dict())
    assert torch.equal(copied(x, 1.0), teacher(x, 1.0))
    own = copied.on(copied.trained_path)
    assert own.network is copied.network.network
    assert own.network is not found.network


def test_one_file_read_as_two_predictions_is_two_teachers():
    network = drawn(SmallUNet(3, 8, (1, 2)))
    prints = {fingerprint(denoiser(published("discrete", kind, network), 0.002, 80.0)) for kind in ("eps", "v", "x0")}
    assert len(prints) == 3


def test_edms_own_network_is_taken_as_it_is_and_another_time_is_told_as_it_asks():
    network = drawn(SmallUNet(3, 8, (1, 2)))
    own = Pretrained(network, EDM(0.002, 80.0), "F", c_noise, SHAPE, sigma_data=0.5)
    teacher = denoiser(own, 0.01, 50.0)
    assert teacher.network is network
    assert (teacher.path, teacher.sigma_data, teacher.trained_path) == (EDM(0.01, 50.0), 0.5, None)
    recorded = Recording(network)
    renamed = Pretrained(recorded, EDM(), "F", lambda s: 250 * torch.log(s), SHAPE, sigma_data=0.5)
    x = samples()
    denoiser(renamed, 0.002, 80.0)(x, 80.0)
    torch.testing.assert_close(recorded.calls[0][1], torch.full((4,), 1095.5066), rtol=1e-6, atol=0)


def test_a_network_without_an_embedding_apart_is_refused_by_boot_in_one_line():
    teacher = denoiser(published("discrete", "v", TwoHeads()), 0.01, 40.0)
    teacher.sample_shape = SHAPE
    with pytest.raises(ValueError, match="`embed`, which TwoHeads does not have"):
        Boot(teacher, BootOptions(batch=4))


class TwoHeads(nn.Module):
    """A prediction, then a variance in the second half of the channels."""

    def __init__(self):
        super().__init__()
        self.network = drawn(SmallUNet(3, 8, (1, 2)))

    def forward(self, x, time, condition=None):
        output = self.network(x, time, condition)
        return torch.cat([output, 7 + output], dim=1)


def test_a_learned_variance_is_cut_off_and_can_be_asked_for():
    found, x = published("discrete", "eps", TwoHeads()), samples()
    alone = published("discrete", "eps", found.network.network)
    teacher = denoiser(found, 0.002, 80.0)
    assert torch.equal(teacher(x, 1.0), denoiser(alone, 0.002, 80.0)(x, 1.0))
    own = teacher.on(teacher.trained_path)
    assert own.output(x, torch.tensor(0.5), None).shape == (4, 6, 8, 8)
    assert own(x, 0.5).shape == x.shape


def half(name):
    network = copy.deepcopy(backbones()[name])
    return network, copy.deepcopy(network).to(torch.bfloat16)


@pytest.mark.parametrize("name", ["small", "song", "ncsnpp", "dhariwal"])
@pytest.mark.parametrize("prediction", ["eps", "F"])
def test_in_bfloat16_x_is_cast_and_the_label_is_not(name, prediction):
    """999 stays 999, and D is within 3e-2 of float32's."""
    full, short = half(name)
    recorded = Recording(short)
    if prediction == "F":
        exact, teacher = (EDMDenoiser(network, 0.5, EDM()) for network in (full, recorded))
        levels, told = [0.02, 0.7, 79.3], lambda s: torch.log(torch.tensor(s)).float() / 4
    else:
        exact, teacher = (denoiser(published(network=network), 0.002, 80.0) for network in (full, recorded))
        levels = [float(teacher.trained_path.noise_level((n + 1) / 1000)) for n in (3, 501, 783)]
        told = dict(zip(levels, (3.0, 501.0, 783.0), strict=True)).get
    x = samples()
    for s in levels:
        D, right = teacher(s * x + x, s), exact(s * x + x, s)
        state, time = recorded.calls[-1]
        assert (state.dtype, time.dtype) == (torch.bfloat16, torch.float32)
        torch.testing.assert_close(time, torch.full((4,), float(told(s))), rtol=1e-6, atol=1e-4)
        assert D.dtype == torch.float32
        assert (D - right).square().mean().sqrt() < 3e-2 * right.square().mean().sqrt()
    if prediction == "eps":
        own = teacher.on(teacher.trained_path)
        own(x, 1.0)
        assert recorded.calls[-1][1].tolist() == [999.0] * 4


@pytest.mark.parametrize(
    ("name", "form", "classes"),
    [("small", "F", 3), ("small", "velocity", 0), ("song", "eps", 3), ("ncsnpp", "F", 0), ("dhariwal", "eps", 3)],
)
def test_boot_tells_every_backbone_its_target_time(name, form, classes):
    """Before training the student is the teacher at pure noise for all target times; then the time tells."""
    network = backbones(classes)[name]
    if form == "F":
        teacher = EDMDenoiser(network, 0.5, EDM(0.01, 40.0))
    else:
        teacher = denoiser(published({"eps": "discrete", "velocity": "flow"}[form], form, network), 0.01, 40.0)
    teacher.sample_shape, teacher.class_counts = SHAPE, (1,) * classes or None
    labels = torch.tensor([0, 2, 1, 0]) if classes else None
    method, eps = Boot(teacher.requires_grad_(False), BootOptions(batch=4)), samples()
    student, t_max = method.student.eval(), teacher.path.t_max
    right = teacher(t_max * eps, t_max, labels)
    for t in (0.01, 0.5, t_max):
        torch.testing.assert_close(student(eps, t, labels), right, rtol=1e-4, atol=1e-5 * float(right.abs().max()))
    drawn(student.network.out)
    assert not torch.allclose(student(eps, 0.02, labels), student(eps, t_max, labels), rtol=1e-3)
    copied = copy.deepcopy(student)
    drawn(copied.network.time, seed=5)
    assert not torch.allclose(copied(eps, 0.02, labels), student(eps, 0.02, labels), rtol=1e-3)
    copied.load_state_dict(student.state_dict())
    assert torch.equal(copied(eps, 0.02, labels), student(eps, 0.02, labels))
    weights = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in student.parameters()) < 1.7 * weights
