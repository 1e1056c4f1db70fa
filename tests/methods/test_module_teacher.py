"""A network of one's own: what its function may return, what is asked of it, and what a mistake is answered."""

import textwrap
import warnings

import pytest
import torch
from pydantic import ValidationError

from fewstep import datasets
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.paths import VPDiscrete
from fewstep.methods.registry import TEACHERS
from fewstep.methods.specs.teachers.module import ModuleOptions
from fewstep.methods.teachers import module
from fewstep.methods.teachers.edm_pickle import CheckpointError
from fewstep.methods.teachers.module_checks import check

DATA = datasets.get("digits")
SOURCE = """
import torch
from torch import nn
from fewstep import datasets
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.networks.unet import SmallUNet
from fewstep.methods.paths import EDM, VPDiscrete
from fewstep.methods.specs.teachers.exact import ExactOptions
from fewstep.methods.teachers.analytic import exact

class Exact(nn.Module):
    '''The exact eps of digits with a blur, told DDPM's label.'''

    def __init__(self):
        super().__init__()
        self.path = VPDiscrete()
        self.exact = exact(ExactOptions(bandwidth=0.3), datasets.get("digits")).on(self.path)

    def forward(self, x, label, condition=None):
        t = self.path.time_of_label(label.double())
        return self.path.eps(x, self.exact(x, t), t)

def digits(prediction="eps", **facts):
    return Exact(), {"path": "vp-discrete", "prediction": prediction, "shape": [1, 8, 8], "bound": 1, **facts}

class Small(nn.Module):
    def __init__(self, classes=0, batch=False):
        super().__init__()
        self.network = SmallUNet(1, 8, (1, 2), classes=classes, embedding=16)
        for p in self.network.parameters():
            nn.init.normal_(p, std=0.1)
        self.batch, self.classes = batch, classes

    def forward(self, x, t, condition=None):
        x = x - x.mean(0) if self.batch else x
        return self.network(x, t, condition if self.classes else None)

def small(classes=0, batch=False, **facts):
    return Small(classes, batch), {"path": "edm", "prediction": "F", "classes": classes, **facts}

def silent(classes):
    return Small(classes), {"path": "edm", "prediction": "F"}

def deaf():
    return Small(), {"path": "edm", "prediction": "F", "classes": 10}

def denoiser():
    return EDMDenoiser(SmallUNet(1, 8, (1, 2), embedding=16), 0.5, EDM())

class Wrong(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x, t, condition=None):
        return {"shape": x[:, :, 1:], "nan": x * float("nan"), "copy": x}[self.how]

    def __deepcopy__(self, memo):
        raise TypeError("a lock")

def wrong(how):
    return Wrong(how), {"path": "edm", "prediction": "F"}

def number():
    return 3

def fails():
    raise RuntimeError("no such" + chr(10) + "luck")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The module of somebody's own, on Python's path; options of a teacher of it."""
    (tmp_path / "my_networks.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_networks", raising=False)
    return lambda function, **options: ModuleOptions(target=f"my_networks:{function}", **options)


def made(options, data=DATA):
    found = module.denoiser(options, data)
    check(found, data, options.conditional)
    return found


def test_a_network_and_its_facts_are_a_denoiser_that_passes_in_silence(own):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = made(own("digits"))
    assert isinstance(found, EDMDenoiser)
    assert found.trained_path == VPDiscrete()
    assert found.sample_bound == 1


@pytest.mark.parametrize("wrong", ["v", "x0"])
def test_a_prediction_that_is_read_as_another_is_noticed_at_noise_level_3(own, wrong):
    with pytest.warns(UserWarning, match=f"does it predict {wrong} on the path VPDiscrete"):
        made(own("digits", kwargs={"prediction": wrong}))


@pytest.mark.filterwarnings("ignore:at noise level")
def test_labels_and_denoisers_are_taken_and_weights_are_loaded(own, tmp_path):
    labelled = own("small", kwargs={"classes": 10}, labels=True)
    first = made(labelled)
    assert labelled.conditional
    assert isinstance(made(own("denoiser")), EDMDenoiser)
    network = first.network
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    again = made(own("small", kwargs={"classes": 10}, labels=True, weights=str(tmp_path / "weights.pt")))
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(again(x, 1.0), first(x, 1.0))


MISTAKES = [
    ("number", {}, "returns a int"),
    ("fails", {}, "fails: RuntimeError: no such luck"),
    ("absent", {}, "fails: AttributeError"),
    ("small", {"kwargs": {"path": "nowhere"}}, "path 'nowhere'"),
    ("small", {"kwargs": {"prediction": "noise"}}, "prediction 'noise'"),
    ("small", {"kwargs": {"path": "vp-cosine"}}, "on the path edm"),
    ("small", {"kwargs": {"sigma": 1}}, "says sigma"),
    ("small", {"kwargs": {"shape": [3, 8, 8]}}, r"shape \(3, 8, 8\)"),
    ("small", {"labels": True}, "takes no labels"),
    ("small", {"kwargs": {"classes": 10}}, "knows 10 classes; the suite says labels: false"),
    ("silent", {"kwargs": {"classes": 10}}, "depends on labels, and it is said to take none"),
    ("deaf", {"labels": True}, "D is the same for two of them"),
    ("small", {"kwargs": {"batch": True}}, "batch statistics"),
    ("wrong", {"kwargs": {"how": "nan"}}, "not finite"),
    ("wrong", {"kwargs": {"how": "copy"}}, "cannot be copied: a lock"),
    ("small", {"weights": "nothing.pt"}, "not the network's state dict"),
]


@pytest.mark.filterwarnings("ignore:at noise level")
@pytest.mark.parametrize(("function", "options", "says"), MISTAKES)
def test_a_mistake_is_one_line(own, function, options, says):
    with pytest.raises(CheckpointError, match=says) as found:
        made(own(function, **options))
    assert "\n" not in str(found.value)


@pytest.mark.filterwarnings("ignore:at noise level")
def test_weights_that_could_run_code_do_not(own, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"cos\nsystem\n(S'touch stolen'\ntR.")
    with pytest.raises(CheckpointError, match="not the network's state dict"):
        made(own("small", weights=str(tmp_path / "weights.pt")))


def test_a_module_that_is_not_there_is_a_mistake_of_the_suite():
    for target, says in (("no_such_module:f", "no module 'no_such_module'"), ("no_colon", "pattern")):
        with pytest.raises(ValidationError, match=says):
            ModuleOptions(target=target)
    assert TEACHERS["module"].options is ModuleOptions


def test_identity_changes_with_the_source_and_the_weights(own, tmp_path):
    weights = tmp_path / "weights.pt"
    options = own("small", weights=str(weights))
    assert options.missing() is not None
    weights.write_bytes(b"1")
    assert options.missing() is None
    first = options.identity()
    weights.write_bytes(b"2")
    second = options.identity()
    with (tmp_path / "my_networks.py").open("a") as file:
        file.write("# another\n")
    third = options.identity()
    assert len({str(found) for found in (first, second, third)}) == 3
    assert first["source"] == second["source"]
