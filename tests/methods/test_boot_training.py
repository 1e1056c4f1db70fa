"""BOOT as it runs: the student that sees noise alone, labels, guidance, costs, and what it reaches."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fewstep import datasets
from fewstep.bench.training import loop as training
from fewstep.bench.training.ledger import Ledger, forward_flops
from fewstep.bench.training.loop import fit
from fewstep.bench.training.tracking import NoTracker
from fewstep.methods import registry, solvers
from fewstep.methods.denoiser import EDMDenoiser, Guided, from_function, metered
from fewstep.methods.distillation.boot import Boot
from fewstep.methods.distillation.distances import distance
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.nfe import UnreachableNFE
from fewstep.methods.paths import EDM
from fewstep.methods.randomness import noise
from fewstep.methods.specs.boot import BootOptions
from fewstep.tests.methods import killing, toy2d


def unet_teacher(classes=0):
    torch.manual_seed(0)
    network = SmallUNet(1, 8, (1, 2), classes=classes)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    teacher = EDMDenoiser(network, 0.75, EDM(0.01, 40.0)).requires_grad_(False)
    teacher.sample_shape = (1, 8, 8)
    teacher.class_counts = (1,) * classes or None
    return teacher


def batch(step=0):
    """All that BOOT reads of a batch."""
    return {"step": step}


def test_the_student_starts_as_the_teachers_view_of_pure_noise():
    """y(eps, t) = D(t_max eps, t_max) for every t: the time enters by an embedding that is zero at the start."""
    teacher = killing.small_teacher()
    student, eps = Boot(teacher, BootOptions()).student, torch.randn(8, 2)
    for t in (0.01, 0.5, 40.0):
        torch.testing.assert_close(student(eps, t), teacher(40 * eps, 40.0), rtol=1e-5, atol=1e-6)


def test_the_time_reaches_the_student_by_its_own_embedding_alone():
    """Inputs, scalings and the noise level's embedding are those of pure noise at every t, trained or not."""
    method = Boot(killing.small_teacher(), BootOptions(batch=8))
    optimizer = method.configure_optimizers()
    for step in range(3):
        method.training_step(batch(step), 0).backward()
        optimizer.step()
    student, eps, seen = method.student, torch.randn(8, 2), []
    student.network.network.stem.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    first, second = student(eps, 0.01), student(eps, 30.0)
    assert not torch.allclose(first, second, rtol=0, atol=1e-4)
    assert torch.equal(seen[0], seen[1])
    with torch.no_grad():
        for p in student.network.out.parameters():
            p.zero_()
    assert torch.equal(student(eps, 0.01), student(eps, 30.0))


@pytest.mark.parametrize("options", [{}, {"step": "heun"}, {"path": "vp-cosine", "weight": "1/delta^2"}])
def test_only_the_student_gets_gradients(options):
    teacher = killing.small_teacher()
    method = Boot(teacher, BootOptions(batch=8, **options))
    method.training_step(batch(), 0).backward()
    assert any(p.grad.abs().sum() > 0 for p in method.student.parameters())
    assert all(p.grad is None for p in [*teacher.parameters(), *method.average.parameters()])


def test_a_step_is_a_function_of_seed_and_step():
    first, second, other = (Boot(killing.small_teacher(), BootOptions(), seed=seed) for seed in (3, 3, 4))
    for step in (0, 5):
        assert torch.equal(first.training_step(batch(step), 0), second.training_step(batch(step), 99))
        assert not torch.equal(first.training_step(batch(step), 0), other.training_step(batch(step), 0))
    assert not torch.equal(first.training_step(batch(0), 0), first.training_step(batch(1), 0))


@pytest.mark.parametrize("path", ["edm", "vp-cosine"])
def test_the_steps_cover_the_teachers_noise_levels(path):
    method = Boot(killing.small_teacher(), BootOptions(path=path))
    top, bottom = (float(method.path.noise_level(t)) for t in (method.t_max, method.t_min))
    assert (top, bottom) == pytest.approx((40.0, 0.01), rel=1e-6)


def test_a_larger_boundary_weight_and_share_enter_the_loss():
    """L = L_BS + beta L_BC: linear in beta, on the same draws."""
    methods = [Boot(killing.small_teacher(), BootOptions(boundary_weight=beta)) for beta in (0, 1, 3)]
    for method in methods:
        # As it starts, the student meets the boundary exactly.
        nn.init.constant_(method.student.network.out.bias, 1.0)
    losses = [method.training_step(batch(), 0).item() for method in methods]
    assert losses[1] > losses[0]
    assert losses[2] - losses[1] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-4)
    with metered() as meter:
        Boot(killing.small_teacher(), BootOptions(batch=8, boundary_share=1.0)).training_step(batch(), 0)
    assert meter.forwards == 3 * 8 + 2 * 8


@pytest.mark.parametrize("name", ["l2", "l1", "pseudo-huber"])
def test_the_distance_is_that_of_both_losses(name):
    method = Boot(killing.small_teacher(), BootOptions(batch=8, distance=name))
    assert method.distance is distance(name)
    compared = []

    def recorded(x, y):
        compared.append(len(x))
        assert x.requires_grad
        assert not y.requires_grad
        return distance(name)(x, y)

    loss = method.training_step(batch(), 0)
    method.distance = recorded
    assert torch.equal(method.training_step(batch(), 0), loss)
    assert compared == [8, 2]
    default = Boot(killing.small_teacher(), BootOptions(batch=8)).training_step(batch(), 0)
    assert torch.equal(loss, default) is (name == "l2")


def test_a_clipped_teacher_stays_in_the_pixels_range():
    far = from_function(lambda x, t: 3 * torch.ones_like(x), EDM(0.01, 40.0))
    for clip, largest in ((False, 3.0), (True, 1.0)):
        method = Boot(killing.small_teacher(), BootOptions(clip=clip))
        method.__dict__["teacher"] = far
        _, f, eps = method._denoisers("train", 0, {"train": torch.randn(4, 2)})
        assert float(f(eps, torch.tensor(2.0)).max()) == largest


@pytest.mark.parametrize("nfe", [2, 3, 8])
def test_more_than_one_evaluation_is_refused_with_the_reason(nfe):
    with pytest.raises(UnreachableNFE, match="in one evaluation: NFE 1 only"):
        Boot(killing.small_teacher(), BootOptions()).sample(torch.randn(5, 2), nfe)
    assert registry.method("boot").refusal(1) is None
    assert "NFE 1 only" in registry.method("boot").refusal(nfe)


def test_sampling_takes_one_evaluation():
    method = Boot(killing.small_teacher(), BootOptions()).eval()
    with metered() as meter:
        method.sample(torch.randn(5, 2), 1)
    assert (meter.evaluations, meter.forwards) == (5, 5)


def test_wrong_teachers_are_told_in_one_line():
    exact = toy2d.exact()
    with pytest.raises(ValueError, match="EDM preconditioning"):
        Boot(exact, BootOptions())
    shapeless = killing.small_teacher()
    shapeless.sample_shape = None
    with pytest.raises(ValueError, match="sample_shape"):
        Boot(shapeless, BootOptions())
    bare = EDMDenoiser(nn.Linear(2, 2), 0.75, EDM(0.01, 40.0))
    bare.sample_shape = (2,)
    with pytest.raises(ValueError, match="`embed`, which Linear does not have"):
        Boot(bare, BootOptions())


def test_labels_are_drawn_not_read():
    """All classes, the same for student and teacher, without labels in the batch."""
    teacher, seen = unet_teacher(classes=3), []
    method = Boot(teacher, BootOptions(batch=32))
    for denoiser in (teacher, method.student):
        denoiser.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2]))
    method.training_step(batch(), 0)
    y_t, f, y_s, f_boundary, y_boundary = seen
    assert set(y_t.tolist()) == {0, 1, 2}
    assert torch.equal(y_t, f)
    assert torch.equal(y_t, y_s)
    assert len(f_boundary) == 8
    assert torch.equal(f_boundary, y_boundary)


def test_a_conditional_student_asks_for_labels():
    method = Boot(unet_teacher(classes=3), BootOptions()).eval()
    eps = torch.randn(4, 1, 8, 8)
    with pytest.raises(ValueError, match="give `condition`"):
        method.sample(eps, 1)
    assert method.sample(eps, 1, condition=torch.tensor([0, 1, 2, 0])).shape == eps.shape


def test_a_guided_teacher_is_what_the_student_learns():
    """Guidance 1 is the conditional teacher; more changes the target; a guided evaluation is two forwards."""
    losses, forwards = [], []
    for teacher in (
        unet_teacher(classes=3),
        Guided(unet_teacher(classes=3), 1.0),
        Guided(unet_teacher(classes=3), 3.0),
    ):
        with metered() as meter:
            losses.append(Boot(teacher, BootOptions(batch=8)).training_step(batch(), 0).item())
        forwards.append(meter.forwards)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert abs(losses[2] - losses[1]) > 1e-3 * losses[1]
    assert forwards == [3 * 8 + 2 * 2, 4 * 8 + 3 * 2, 4 * 8 + 3 * 2]


def prepared(teacher, shape, budget=800.0, **options):
    unit = forward_flops(getattr(teacher, "denoiser", teacher), torch.randn(2, *shape))
    return Boot(teacher, BootOptions(batch=8, **options)), Ledger(budget, "evaluations", unit)


def boot_run(folder, teacher, data="mixture-2d", budget=800.0, tracker=None, **options):
    data = datasets.get(data) if isinstance(data, str) else data
    folder.mkdir(exist_ok=True)
    method, ledger = prepared(teacher, data.shape, budget, **options)
    fit(method, data, 0, ledger, folder, tracker or NoTracker())
    return method, ledger


def weights(method):
    return torch.cat([p.detach().flatten() for p in method.result().parameters()])


def guided_teacher():
    return Guided(unet_teacher(classes=3), 2.0)


@pytest.mark.parametrize(
    ("make", "data", "options"),
    [
        (killing.small_teacher, "mixture-2d", {}),
        (killing.small_teacher, "mixture-2d", {"step": "heun"}),
        (unet_teacher, "digits", {"path": "vp-cosine", "boundary_share": 0.5}),
        (guided_teacher, "digits", {}),
    ],
)
def test_the_ledger_equals_a_flop_counter_around_the_whole_run(tmp_path, make, data, options):
    data = datasets.get(data)
    method, ledger = prepared(make(), data.shape, 360.0, **options)
    with FlopCounterMode(display=False) as counter:
        fit(method, data, 0, ledger, tmp_path, NoTracker())
    assert ledger.steps >= 4
    assert ledger.flops == pytest.approx(counter.get_total_flops(), rel=0.005)
    assert ledger.evaluations <= 360


@pytest.mark.parametrize(
    ("options", "guided", "teacher"),
    [({}, False, 1 + 1 / 4), ({"step": "heun"}, False, 2 + 1 / 4), ({}, True, 2 + 2 / 4)],
)
def test_a_step_costs_what_it_evaluates(tmp_path, options, guided, teacher):
    """Per sample 5, and 4 per boundary sample, which are a quarter; Heun's step or a guided teacher: one more."""
    _, ledger = boot_run(tmp_path, guided_teacher() if guided else unet_teacher(), "digits", 100.0, **options)
    per_sample = {use: flops / ledger.flops_per_evaluation / ledger.images for use, flops in ledger.uses.items()}
    expected = {"teacher": teacher, "target": 1, "student forward": 1 + 1 / 4, "student backward": 2 * (1 + 1 / 4)}
    assert per_sample == pytest.approx(expected, rel=0.03)
    assert sum(ledger.uses.values()) == pytest.approx(ledger.flops)


@pytest.mark.parametrize("step", [1, 4, 9])
def test_a_killed_run_resumed_equals_an_undisturbed_one(tmp_path, monkeypatch, step):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    undisturbed, expected = boot_run(tmp_path / "a", killing.small_teacher())
    with pytest.raises(killing.Killed):
        boot_run(tmp_path / "b", killing.small_teacher(), tracker=killing.KillAfter(step))
    resumed, ledger = boot_run(tmp_path / "b", killing.small_teacher())
    assert torch.equal(weights(resumed), weights(undisturbed))
    assert (ledger.flops, ledger.images, ledger.steps) == (expected.flops, expected.images, expected.steps)


def test_the_teacher_is_neither_saved_nor_trained():
    method = Boot(killing.small_teacher(), BootOptions())
    assert not any("teacher" in name for name in method.state_dict())
    method.train()
    assert not method.teacher.training


@pytest.mark.parametrize(("options", "largest"), [({}, 0.15), ({"path": "vp-cosine"}, 0.25)])
def test_one_evaluation_gives_the_mixture(tmp_path, options, largest):
    """At 150 000 evaluations 0.084 to 0.108 measured over three seeds (cosine path: 0.18), where Euler has 0.707."""
    eps = noise(0, "toy-start", range(2000), (2,))
    teacher = toy2d.teacher()
    assert toy2d.swd(solvers.get("euler").sample(teacher, eps, nfe=1)) > 0.6
    method = Boot(teacher, BootOptions(batch=256, learning_rate=1e-3, **options))
    assert toy2d.train(method, 150_000, tmp_path).evaluations <= 150_000
    x0 = method.sample(eps, 1)
    assert toy2d.swd(x0) < largest
    truth = solvers.get("rk45", tolerance=1e-4).sample(teacher, eps)
    assert float((x0 - truth).square().mean().sqrt()) < 0.25
