"""Networks of others against the outputs of their authors' code (tests/reference/teachers)."""

import json

import pytest
import torch

from fewstep.methods.distillation.consistency import ConsistencyFunction
from fewstep.methods.networks import ddpm, openai
from fewstep.methods.networks.ddpm import DDPMUNet
from fewstep.methods.networks.openai import OpenAIUNet
from fewstep.methods.paths import EDM
from fewstep.methods.teachers import forms, preconditioned
from fewstep.methods.teachers.forms import Checkpoint
from fewstep.methods.teachers.forms.base import outline, tensors_digest
from fewstep.tests.methods.published import checkpoint, config, entries


@pytest.fixture(scope="module")
def loaded(reference, reference_folder):
    """name -> (description, arrays, what the form builds, in eval mode)."""
    found = {}
    for name, entry in entries(reference_folder).items():
        pretrained = forms.build(checkpoint(entry))
        pretrained.network.eval()
        found[name] = entry, reference(f"teachers/{name}"), pretrained
    assert found, f"no networks in {reference_folder}"
    return found


def labels(arrays):
    return arrays["labels"] if "labels" in arrays.names else None


def said(entry, arrays, pretrained):
    """What the authors' network would have put out where `pretrained` says so: (ours, theirs)."""
    x = arrays["x"]
    if "sigma" not in arrays:
        return pretrained.network(x, arrays["t"], labels(arrays)), arrays["out"]
    sigma = arrays["sigma"]
    if entry["family"] == "score_sde":
        # Theirs is divided by a sigma that is half of ours, and has the score's sign.
        eps = pretrained.network(x, pretrained.time_of(2 * sigma), None)
        return -eps / sigma[:, None, None, None], arrays["out"]
    scaled = x * (sigma * (sigma**2 + 0.25) ** -0.5)[:, None, None, None]
    return pretrained.network(scaled, pretrained.time_of(sigma), labels(arrays)), arrays["F_edm"]


def error(ours, theirs):
    """The largest difference, in units of the largest output."""
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1))


@torch.no_grad()
def test_reference_outputs_of_every_family(loaded):
    for name, (entry, arrays, pretrained) in loaded.items():
        assert error(*said(entry, arrays, pretrained)) < 1e-5, name


@torch.no_grad()
def test_reference_denoisers_of_consistency_models_teachers_and_students(loaded):
    """The whole convention: scalings, time, and the students' boundary at sigma 0.002."""
    for name, (entry, arrays, pretrained) in loaded.items():
        if entry["family"] != "cm":
            continue
        sigma = arrays["sigma"]
        x = sigma[:, None, None, None] * arrays["x"]
        teacher = preconditioned.denoiser(pretrained, 0.002, 80.0)
        assert error(teacher(x, sigma, labels(arrays)), arrays["D_edm"]) < 1e-5, name
        student = ConsistencyFunction(teacher.network, teacher.sigma_data, EDM(0.002, 80.0))
        assert error(student(x, sigma, labels(arrays)), arrays["D_consistency"]) < 1e-5, name
        assert error(arrays["D_edm"], arrays["D_consistency"]) > 1e-3, "the boundary form is another function"


@torch.no_grad()
def test_reference_labels_are_those_of_the_path(loaded):
    """On a discrete path label n lies at (n + 1)/N, and is told to the network as it is; in eps, on VP's own scale."""
    for name, (_entry, arrays, pretrained) in loaded.items():
        if "t" not in arrays:
            continue
        n = arrays["t"].double()
        discrete = hasattr(pretrained.path, "time_of_label")
        t = pretrained.path.time_of_label(n) if discrete else n / 999
        torch.testing.assert_close(pretrained.time_of(t), n, rtol=0, atol=1e-9)
        assert pretrained.prediction == "eps", name
        trained = preconditioned.denoiser(pretrained, 0.0, 1e9).on(pretrained.path)
        found = trained.eps(arrays["x"], t, labels(arrays))
        assert error(found, arrays["out"][:, :3]) < 3e-5, name


def changed(entry, **arguments):
    other = checkpoint(entry)
    return Checkpoint({**other.config, "network": {**other.config["network"], **arguments}}, other.state)


def padded_on_both_sides(monkeypatch):
    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.conv.weight, self.conv.bias, stride=2, padding=1)

    monkeypatch.setattr(ddpm.Downsample, "forward", forward)


def other_order(monkeypatch):
    plain = openai.sinusoids
    swapped = {"cos-sin": "sin-cos", "sin-cos": "cos-sin"}
    for module in (openai, ddpm):
        monkeypatch.setattr(
            module, "sinusoids", lambda time, width, order, end, dtype: plain(time, width, swapped[order], end, dtype)
        )


def other_endpoint(monkeypatch):
    plain = openai.sinusoids
    for module in (openai, ddpm):
        monkeypatch.setattr(
            module, "sinusoids", lambda time, width, order, end, dtype: plain(time, width, order, not end, dtype)
        )


def fewer_groups(monkeypatch):
    for module in (openai, ddpm):
        monkeypatch.setattr(module, "GROUPS", 16)


WRONG = {
    "groups": (("guided", "improved", "cm", "ho"), fewer_groups),
    "order of sines": (("guided", "improved", "cm", "ho"), other_order),
    "lowest frequency": (("guided", "improved", "cm", "ho"), other_endpoint),
    "padding": (("ho",), padded_on_both_sides),
    "time": (
        ("cm",),
        lambda monkeypatch: monkeypatch.setattr(forms.openai, "consistency_time", preconditioned.c_noise),
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("what", WRONG)
def test_reference_tells_what_is_wrong(loaded, monkeypatch, what):
    families, break_it = WRONG[what]
    break_it(monkeypatch)
    found = []
    for entry, arrays, _ in loaded.values():
        if entry["family"] in families:
            pretrained = forms.build(checkpoint(entry))
            pretrained.network.eval()
            found.append(error(*said(entry, arrays, pretrained)))
    assert found, families
    assert max(found) > 1e-3, found


@torch.no_grad()
def test_reference_tells_the_eps_of_group_norms(loaded):
    """It shows most where inputs are small, as consistency models' at small sigma."""
    found = []
    for entry, arrays, _ in loaded.values():
        pretrained = forms.build(checkpoint(entry))
        for layer in pretrained.network.eval().modules():
            if isinstance(layer, torch.nn.GroupNorm):
                layer.eps = {1e-5: 1e-6, 1e-6: 1e-5}[layer.eps]
        found.append(error(*said(entry, arrays, pretrained)))
    assert min(found) > 1e-5, found
    assert max(found) > 1e-3, found


@torch.no_grad()
def test_reference_tells_the_order_of_heads(loaded):
    """It is in no shape: the wrong one loads strictly."""
    for name, (entry, arrays, _) in loaded.items():
        if entry["family"] in ("guided", "improved", "cm"):
            right = config(entry)["network"].get("use_new_attention_order", False)
            wrong = forms.build(changed(entry, use_new_attention_order=not right))
            wrong.network.eval()
            heads = max(getattr(layer, "heads", 1) for layer in wrong.network.modules())
            assert (error(*said(entry, arrays, wrong)) > 1e-3) == (heads > 1), name


@torch.no_grad()
def test_reference_tells_a_label_at_another_scale(loaded):
    for name, (entry, arrays, pretrained) in loaded.items():
        if entry["family"] in ("guided", "improved"):
            wrong = pretrained.network(arrays["x"], arrays["t"] / 4, labels(arrays))
            assert error(wrong, arrays["out"]) > 1e-3, name


def test_reference_configurations_have_the_published_names_and_shapes(reference_folder):
    published = json.loads((reference_folder / "teachers" / "published_configs.json").read_text())
    assert published
    for name, entry in published.items():
        network = config(entry)["network"]
        kind = DDPMUNet if entry["family"] == "ho" else OpenAIUNet
        state = outline(lambda kind=kind, network=network: kind(**network)).state_dict()
        assert len(state) == entry["tensors"], name
        assert sum(tensor.numel() for tensor in state.values()) == entry["parameters"], name
        assert tensors_digest(state) == entry["sha256"], name
