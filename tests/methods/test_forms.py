"""Published networks from their files to their outputs, and files that are none."""

import contextlib
import io
import json
import math
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from fewstep.methods import msgpack, published_networks
from fewstep.methods.denoiser import NetworkDenoiser
from fewstep.methods.networks.ddpm import DDPMUNet
from fewstep.methods.networks.openai import OpenAIClassifier, OpenAIUNet
from fewstep.methods.paths import FlowOT, VPCosine
from fewstep.methods.specs.teachers.checkpoint import CheckpointOptions
from fewstep.methods.teachers import checkpoint, forms
from fewstep.methods.teachers.forms import Checkpoint, CheckpointError, flax_pd, schedules
from fewstep.methods.teachers.forms.base import outline, tensors_digest
from fewstep.methods.teachers.forms.shapes import SHAPES
from fewstep.methods.teachers.forms.writing import array, content, extension, packed, prefixed, tree
from fewstep.methods.teachers.forms.writing import drawn as weights
from fewstep.tests.methods.published import NETWORKS, OPENAI, tiny, write

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
TIME = torch.tensor([0.3, 0.8], dtype=torch.float64)


@torch.no_grad()
def output(made):
    """What the network of a checkpoint says of X at two times of its path."""
    pretrained = forms.build(made)
    labels = torch.tensor([0, 3]) if pretrained.classes else None
    return pretrained.network.eval()(X, pretrained.time_of(TIME).float(), labels)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_each_family_gives_its_network_and_is_kept_as_safetensors(name, tmp_path):
    made = tiny(name)
    read = forms.read(write(name, tmp_path))
    assert read.config == made.config
    assert set(read.state) == set(made.state)
    assert all(torch.equal(tensor, made.state[key]) for key, tensor in read.state.items())
    read.save(tmp_path / "kept.safetensors")
    kept = forms.read(tmp_path / "kept.safetensors")
    assert kept.config == made.config
    expected = output(made)
    assert torch.equal(output(read), expected)
    assert torch.equal(output(kept), expected)
    assert expected.std() > 0.05


@pytest.mark.parametrize("name", ["guided", "torchcfm", "ddpm", "ddpmpp"])
def test_files_of_older_versions_of_torch_are_read(name, tmp_path):
    read = forms.read(write(name, tmp_path, _use_new_zipfile_serialization=False))
    assert torch.equal(output(read), output(tiny(name)))


@pytest.mark.parametrize("name", ["guided", "ddpm", "ddpmpp"])
def test_state_dicts_alone_are_read_with_and_without_the_prefix_of_data_parallel(name, tmp_path):
    made = tiny(name)
    for state in (made.state, prefixed(made.state)):
        torch.save(state, tmp_path / "net.pt")
        read = forms.read(tmp_path / "net.pt", config=made.config)
        assert torch.equal(output(read), output(made))


def test_half_precision_is_computed_in_float32(tmp_path):
    made = tiny("guided")
    torch.save({key: tensor.half() for key, tensor in made.state.items()}, tmp_path / "net.pt")
    network = forms.build(forms.read(tmp_path / "net.pt", config=made.config)).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_two_networks_of_one_checkpoint_share_nothing():
    made = tiny("ddpm")
    one, other = forms.build(made).network, forms.build(made).network
    with torch.no_grad():
        one.conv_in.bias += 1
    assert torch.equal(other.conv_in.bias, made.state["conv_in.bias"])


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_a_denoiser_of_each_family_is_its_network_on_the_path_that_it_was_trained_on(name):
    made, classes = tiny(name), tiny(name).classes
    denoiser = checkpoint.denoiser(made, CheckpointOptions(file="net"), (3, 8, 8), classes or 10).eval()
    pretrained = forms.build(made)
    labels = torch.tensor([0, 3]) if classes else None
    assert (denoiser.path.t_min, denoiser.path.t_max) >= (0.002, 0.5)
    assert denoiser(X, 0.7, labels).isfinite().all()
    if pretrained.prediction != "F":
        own = NetworkDenoiser(pretrained.network.eval(), pretrained.path, pretrained.prediction, pretrained.time_of)
        t = pretrained.path.time_at(torch.tensor(0.7, dtype=torch.float64))
        expected = own(pretrained.path.alpha(t).float() * X, t, labels)
        torch.testing.assert_close(denoiser(X, 0.7, labels), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_the_embedding_of_time_and_class_is_made_in_one_place(name):
    network, time = forms.build(tiny(name)).network.eval(), torch.tensor([3.0, 40.0])
    network = network.network if isinstance(network, flax_pd.BothInOne) else network
    labels = torch.tensor([0, 3]) if tiny(name).classes else None
    embedding = network.embed(time, labels)
    assert torch.equal(network(X, 0 * time, embedding=embedding), network(X, time, labels))
    assert not torch.equal(network(X, time, labels), network(X, 0 * time, labels))


@pytest.mark.parametrize("name", ["improved", "ddpm", "ddpmpp"])
def test_students_have_the_dropout_that_is_asked_for(name):
    for dropout in (0.0, 0.4):
        pretrained = forms.build(tiny(name), dropout=dropout)
        labels = torch.tensor([0, 1]) if pretrained.classes else None
        network, time = pretrained.network.train(), pretrained.time_of(TIME).float()
        assert torch.equal(network(X, time, labels), network(X, time, labels)) == (dropout == 0)


@torch.no_grad()
def test_torchcfms_velocity_runs_from_data_to_noise_here():
    """Theirs is v(t) = data - noise with data at t = 1: ours is -v at 1 - t."""
    made = tiny("torchcfm")
    theirs = OpenAIUNet(**made.config["network"])
    theirs.load_state_dict(made.state)
    pretrained = forms.build(made)
    assert pretrained.path == FlowOT()
    denoiser = NetworkDenoiser(pretrained.network, pretrained.path, "velocity", pretrained.time_of).eval()
    t = torch.tensor(0.25, dtype=torch.float64)
    data = X + 0.25 * theirs.eval()(X, torch.tensor([0.75, 0.75]))
    torch.testing.assert_close(denoiser(X, t), data, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_score_sdes_ddpm_is_hos_network_with_less_attention():
    network = forms.build(tiny("song-ddpm")).network
    assert isinstance(network, DDPMUNet)
    assert [len(level.attn) for level in network.up] == [0, 1]
    assert [len(level.attn) for level in network.down] == [0, 1]


def test_a_chains_labels_and_noise_levels_are_the_published_ones():
    linear, cosine = schedules.chain("linear", 1000), schedules.chain("cosine", 4000)
    assert (linear.betas[0], linear.betas[-1]) == pytest.approx((1e-4, 0.02))
    assert (schedules.chain("linear", 4000).betas[-1]) == pytest.approx(0.005)
    assert float(linear.label(linear.t_min)) == pytest.approx(0)
    assert float(cosine.label(cosine.t_min)) == pytest.approx(0)
    assert max(cosine.betas) == 0.999
    assert float(schedules.chain("cosine", 1000).noise_level(1.0)) == pytest.approx(20291, rel=1e-3)
    assert float(cosine.noise_level(1.0)) == pytest.approx(81165, rel=1e-3)


def test_the_label_scale_is_the_trained_one_or_what_is_asked_for():
    made, t = tiny("improved"), torch.tensor([0.5], dtype=torch.float64)
    assert forms.build(made).time_of(t).item() == pytest.approx((0.5 * 4000 - 1) / 4)
    assert forms.build(made, label_scale=1.0).time_of(t).item() == pytest.approx(0.5 * 4000 - 1)
    with pytest.raises(CheckpointError, match="label_scale is for networks of the form openai"):
        forms.build(tiny("ddpm"), label_scale=1.0)


def flax_unet(params, fields, x, logsnr, labels):
    """Salimans & Ho's UNet as its flax code computes it, on images with channels last; one block at each level."""

    def dense(name, h):
        return h @ params[f"{name}/kernel"] + params[f"{name}/bias"]

    def conv(name, h):
        kernel = params[f"{name}/kernel"].permute(3, 2, 0, 1)
        return functional.conv2d(h.permute(0, 3, 1, 2), kernel, params[f"{name}/bias"], padding=1).permute(0, 2, 3, 1)

    def norm(name, h):
        scale, bias = params[f"{name}/scale"], params[f"{name}/bias"]
        return functional.group_norm(h.permute(0, 3, 1, 2), 32, scale, bias, 1e-6).permute(0, 2, 3, 1)

    def block(name, h, resample=lambda h: h):
        inner = conv(f"{name}/conv1", resample(functional.silu(norm(f"{name}/norm1", h))))
        scale, shift = dense(f"{name}/temb_proj", functional.silu(emb))[:, None, None].chunk(2, dim=-1)
        inner = functional.silu(norm(f"{name}/norm2", inner) * (1 + scale) + shift)
        h = resample(h)
        skip = dense(f"{name}/nin_shortcut", h) if f"{name}/nin_shortcut/kernel" in params else h
        return skip + conv(f"{name}/conv2", inner)

    def attention(name, h):
        positions = norm(f"{name}/norm", h).flatten(1, 2)
        q, k, v = (
            torch.einsum("bpc,chd->bphd", positions, params[f"{name}/{part}/kernel"]) + params[f"{name}/{part}/bias"]
            for part in "qkv"
        )
        weight = (torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])).softmax(dim=-1)
        mixed = torch.einsum("bhqk,bkhd->bqhd", weight, v)
        out = torch.einsum("bphd,hdc->bpc", mixed, params[f"{name}/proj_out/kernel"]) + params[f"{name}/proj_out/bias"]
        return h + out.reshape(h.shape)

    def down(h):
        return functional.avg_pool2d(h.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)

    def up(h):
        return h.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)

    u = torch.arctan(torch.exp(-0.5 * logsnr.clip(-20, 20))) / (0.5 * math.pi)
    half = fields["ch"] // 2
    angles = 1000 * u[:, None] * torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
    emb = torch.cat([angles.sin(), angles.cos()], dim=1)
    emb = dense("dense1", functional.silu(dense("dense0", emb)))
    if fields["num_classes"] > 1:
        emb = emb + dense("class_emb", functional.one_hot(labels, fields["num_classes"]).float())
    hs = [conv("conv_in", x.permute(0, 2, 3, 1))]
    hs.append(block("down_0.block_0", hs[-1]))
    hs.append(block("down_0.downsample", hs[-1], down))
    hs.append(attention("down_1.attn_0", block("down_1.block_0", hs[-1])))
    h = block("mid.block_2", attention("mid.attn_1", block("mid.block_1", hs[-1])))
    for k in range(2):
        h = attention(f"up_1.attn_{k}", block(f"up_1.block_{k}", torch.cat([h, hs.pop()], dim=-1)))
    h = block("up_1.upsample", h, up)
    for k in range(2):
        h = block(f"up_0.block_{k}", torch.cat([h, hs.pop()], dim=-1))
    return conv("conv_out", functional.silu(norm("norm_out", h))).permute(0, 3, 1, 2)


@torch.no_grad()
@pytest.mark.parametrize("name", ["pd", "pd-both"])
def test_flaxs_network_is_openais_with_hos_embedding(name):
    made, path = tiny(name), VPCosine()
    labels = torch.tensor([0, 3])
    expected = flax_unet(made.state, made.config["network"], X, 2 * path.half_log_snr(TIME).float(), labels)
    if name == "pd-both":
        expected = path.x0_from_x0_and_eps(X, expected, TIME)
    torch.testing.assert_close(output(made), expected, rtol=1e-4, atol=1e-5)


def test_flaxs_angle_is_clipped_with_its_log_snr():
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    level = math.atan(math.exp(10)) * 2 / math.pi
    assert flax_pd.angle(ends).tolist() == pytest.approx([1000 * (1 - level), 1000 * level])


def architectures():
    """The registered networks, one of each architecture."""
    return {
        (network.tensors, network.kind): network
        for network in published_networks.NETWORKS.values()
        if network.form != "edm"
    }.values()


@pytest.mark.parametrize("network", architectures(), ids=lambda network: network.name)
def test_each_registered_network_has_the_tensors_and_parameters_that_are_said(network):
    arguments = network.config["network"]
    if network.kind == "classifier":
        network_of = outline(lambda: OpenAIClassifier(**arguments))
        shapes = {name: tensor.shape for name, tensor in network_of.state_dict().items()}
    else:
        shapes = SHAPES[network.form](arguments)
        channels = arguments.get("out_channels") or arguments.get("out_ch") or 3
        assert (network.variance == "learned") == (network.form == "openai" and channels == 6)
        assert network.shape[1] == arguments["image_size"]
        assert network.classes == Checkpoint(network.settings, {}).classes
    assert (
        tensors_digest({name: torch.empty(shape, device="meta") for name, shape in shapes.items()}) == network.tensors
    )
    assert sum(math.prod(shape) for shape in shapes.values()) == network.parameters


def test_classifiers_are_read_and_are_no_denoisers(tmp_path):
    settings = {"form": "openai", "kind": "classifier", "network": {**CLASSIFIER}}
    made = outline(lambda: OpenAIClassifier(**CLASSIFIER))
    shapes = {key: tuple(tensor.shape) for key, tensor in made.state_dict().items()}
    torch.save(weights(shapes, 0), tmp_path / "net.pt")
    read = forms.read(tmp_path / "net.pt", config=settings)
    classifier = forms.classifier(read)
    x = X.clone().requires_grad_()
    logits = classifier(x, torch.tensor([10.0, 500.0]))
    assert logits.shape == (2, 5)
    assert torch.autograd.grad(logits.log_softmax(1)[:, 0].sum(), x)[0].abs().max() > 0
    with pytest.raises(CheckpointError, match="a classifier of noisy images and no denoiser"):
        forms.build(read)
    with pytest.raises(CheckpointError, match="no classifier of noisy images"):
        forms.classifier(tiny("guided"))


CLASSIFIER = {
    "image_size": 8, "in_channels": 3, "model_channels": 32, "out_channels": 5, "num_res_blocks": 1,
    "attention_resolutions": [2], "channel_mult": [1, 2], "num_head_channels": 32,
}  # fmt: skip


@pytest.fixture
def register(monkeypatch):
    """register(name, made, **facts): the tiny network as if it were published under the name."""

    def add(name, made, **facts):
        fields = {
            "name": name, "file": f"{name}.pt", "url": "", "licence": "", "data": "", "form": made.form,
            "shape": (3, 8, 8), "parameters": 0, "tensors": tensors_digest(made.state),
            "config": {key: value for key, value in made.config.items() if key != "form"},
        }  # fmt: skip
        entries = dict(published_networks.NETWORKS)
        entries[name] = published_networks.PublishedNetwork(**{**fields, **facts})
        monkeypatch.setattr(published_networks, "NETWORKS", entries)

    return add


def test_the_register_says_what_a_published_file_leaves_out(register, tmp_path):
    made = tiny("guided")
    torch.save(made.state, tmp_path / "renamed.pt")
    with pytest.raises(
        CheckpointError, match=r"renamed\.pt: of form openai, .*: write its configuration to renamed\.json"
    ):
        forms.read(tmp_path / "renamed.pt")
    register("one", made)
    assert forms.read(tmp_path / "renamed.pt").config == made.config
    register("same", made)
    assert forms.read(tmp_path / "renamed.pt").config == made.config
    register("student", made, kind="consistency")
    with pytest.raises(CheckpointError, match="it may be any of one, same, student: give it the name of the one"):
        forms.read(tmp_path / "renamed.pt")
    (tmp_path / "renamed.pt").rename(tmp_path / "student.pt")
    read = forms.read(tmp_path / "student.pt")
    assert read.config["kind"] == "consistency"
    with pytest.raises(CheckpointError, match="a few-step student and no denoiser"):
        checkpoint.denoiser(read, CheckpointOptions(file="net"), (3, 8, 8), 4)


def test_a_published_network_is_known_as_safetensors_too(register, tmp_path):
    made = tiny("guided")
    save_file(made.state, tmp_path / "net.safetensors")
    with pytest.raises(
        CheckpointError, match=r"net\.safetensors: no configuration in its header, nor a file net\.json"
    ):
        forms.read(tmp_path / "net.safetensors")
    settings = {key: value for key, value in made.config.items() if key != "form"}
    assert forms.read(tmp_path / "net.safetensors", config=settings).config == made.config
    register("one", made)
    assert forms.read(tmp_path / "net.safetensors").config == made.config


def test_the_configuration_may_be_given_or_lie_beside_the_file(tmp_path):
    made = tiny("improved")
    file = write("improved", tmp_path)
    other = {**made.config, "labels": 1000}
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert forms.read(file).config == made.config
    assert forms.read(file, config=tmp_path / "other.json").config == other
    options = CheckpointOptions(file="net", form="openai", config=other, label_scale="official-dode")
    assert checkpoint.read(file, options).config == other
    assert checkpoint.denoiser(forms.read(file), options, (3, 8, 8), 0).trained_path.labels == 4000
    with pytest.raises(CheckpointError, match=r"improved\.pt: its form is openai, not ddpm"):
        forms.read(file, form="ddpm")
    with pytest.raises(CheckpointError, match="its configuration says form 'ddpm', and its tensors are of openai"):
        forms.read(file, config={**other, "form": "ddpm"})


def test_what_is_not_finite_loads_and_is_said(tmp_path):
    made = tiny("ddpm")
    made.state["conv_in.bias"] = torch.full((32,), math.nan)
    torch.save(made.state, tmp_path / "net.pt")
    with pytest.warns(UserWarning, match=r"net\.pt: 1 tensors hold NaN or infinity, such as conv_in\.bias"):
        forms.read(tmp_path / "net.pt", config=made.config)


class Call:
    """Pickles as a call."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def saved(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def zipped(value, compression):
    """What torch.save wrote, in an archive with that compression."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(value))) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    return stream.getvalue()


def openai(**tensors):
    return {**tiny("guided").state, **tensors}


def swelling():
    """2^40 elements that lie in one."""
    return torch.zeros(1).expand(2**40)


def shadow(change):
    made = content(tiny("ddpmpp"))
    made["ema"]["shadow_params"] = change(made["ema"]["shadow_params"])
    return made


KEY = "time_embed.0.weight"
HOSTILE = {
    "call": (lambda: saved({KEY: Call()}), "system, which is not needed"),
    "call in an old file": (lambda: saved({KEY: Call()}, _use_new_zipfile_serialization=False), "system"),
    "bare pickle": (lambda: pickle.dumps(Call()), "not a file of tensors"),
    "module": (lambda: saved(nn.Linear(2, 2)), "Linear, which is not needed"),
    "call beside the network": (lambda: saved({**openai(), "extra": Call()}), "system"),
    "call in torchcfm's": (lambda: saved({"ema_model": openai(), "sched": Call()}), "system"),
    "call in ddim's": (lambda: saved([Call(), {}, 1, 2, tiny("ddpm").state]), "system"),
    "call in score_sde's": (lambda: saved({**content(tiny("ddpmpp")), "optimizer": Call()}), "system"),
    "empty": (lambda: b"", "the file is empty"),
    "web page": (lambda: b"<!doctype html>", "neither torch.save nor flax"),
    "cut short": (lambda: saved(openai())[:-5000], "not a file of tensors"),
    "old and cut short": (lambda: saved(openai(), _use_new_zipfile_serialization=False)[:-5000], "not a file of"),
    "list": (lambda: saved([1, 2]), "a list, and no network of a known form"),
    "empty list": (lambda: saved([]), "a list, and no network of a known form"),
    "number": (lambda: saved(3), "a int, and no network"),
    "tensor": (lambda: saved(torch.zeros(2)), "a Tensor, and no network"),
    "nothing": (lambda: saved({}), "a dictionary of nothing, and no network"),
    "other names": (lambda: saved({"conv1.weight": torch.zeros(2)}), "a dictionary of conv1.weight, and no network"),
    "no tensor": (lambda: saved(openai(extra=1)), "extra is a int, not a tensor"),
    "no text": (lambda: saved({**openai(), 7: torch.zeros(1)}), "an entry is called 7"),
    "sparse": (lambda: saved(openai(extra=torch.zeros(2, 2).to_sparse())), "extra is not a dense tensor"),
    "complex": (lambda: saved(openai(extra=torch.zeros(2, dtype=torch.complex64))), "extra is not a dense tensor"),
    "swelling": (lambda: saved(openai(extra=swelling())), r"extra has 1,099,511,627,776 elements"),
    "compressed": (lambda: zipped(openai(), zipfile.ZIP_DEFLATED), "its tensors are compressed"),
    "no average": (lambda: saved({**content(tiny("ddpmpp")), "ema": None}), "its `ema` has no shadow_params"),
    "short average": (lambda: saved(shadow(lambda params: params[:-1])), "its `ema` has no shadow_params"),
    "average of numbers": (lambda: saved(shadow(lambda params: [0] * len(params))), "is a int, not a tensor"),
    "average in another order": (lambda: saved(shadow(lambda params: params[::-1])), "another order"),
    "average of nothing": (lambda: saved({"ema_model": None}), "no network of a known form"),
    "ddim's without an average": (lambda: saved([tiny("guided").state] * 5), "a list, and no network"),
}


@pytest.mark.filterwarnings("ignore:.*sparse.*")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_one_line_and_nothing_runs(what, tmp_path, monkeypatch):
    made, message = HOSTILE[what]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pt").write_bytes(made())
    with pytest.raises(CheckpointError) as caught:
        forms.read(tmp_path / "net.pt")
    assert str(caught.value).startswith(f"{tmp_path / 'net.pt'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not (tmp_path / "executed").exists()


def flaxed(**items):
    return packed({"ema_params": {**tree(tiny("pd").state), **items}})


def with_extension(code, data):
    return b"\xdf\0\0\0\x01" + packed("ema_params") + b"\xdf\0\0\0\x01" + packed("x") + extension(code, data)


HOSTILE_MSGPACK = {
    "cut short": (lambda: flaxed()[:-7], "it is cut short"),
    "more after its end": (lambda: flaxed() + b"\0", "more follows after its end"),
    "object": (lambda: with_extension(5, b"\x80\x04N."), "an object of extension type 5"),
    "array of objects": (lambda: with_extension(1, array((1,), "object", b"12345678")), "an array of 'object'"),
    "wrong shape": (lambda: with_extension(1, array((3,), "float32", b"1234")), "of shape (3,) has 4 bytes"),
    "2^40 elements": (lambda: with_extension(1, array((2**40,), "float32", b"1234")), "has 4 bytes"),
    "negative side": (lambda: with_extension(1, array((-1, -1), "float32", b"1234")), "not one of whole numbers"),
    "no triple": (lambda: with_extension(1, packed("x")), "no shape, dtype and bytes"),
    "2^32 items": (lambda: b"\xdf\xff\xff\xff\xff", "it is cut short"),
    "2^32 bytes": (lambda: b"\xc6\xff\xff\xff\xff", "it is cut short"),
    "nested": (lambda: b"\x91" * 5000, "nested more than 32 deep"),
    "nested arrays": (lambda: packed_deep(), "nested more than 32 deep"),
    "numbers as keys": (lambda: b"\x81\x01\x01", "a key is '1', not text"),
    "byte without a meaning": (lambda: b"\x81\xa1x\xc1", "the byte c1"),
    "text that is none": (lambda: b"\x81\xa1\xff\xc0", "neither torch.save nor flax"),
    "no arrays": (lambda: packed({"ema_params": {"x": "text"}}), "x is a str, not an array of numbers"),
    "no average": (lambda: packed({"params": {}}), "a dictionary of params, and no network"),
    "a number": (lambda: b"\x05", "a int, and no network"),
}


def packed_deep():
    inner = packed("x")
    for _ in range(40):
        inner = extension(1, inner)
    return b"\x81\xa1x" + inner


@pytest.mark.parametrize("what", HOSTILE_MSGPACK)
def test_hostile_msgpack_is_one_line(what, tmp_path):
    made, message = HOSTILE_MSGPACK[what]
    (tmp_path / "net").write_bytes(made())
    with pytest.raises(CheckpointError) as caught:
        forms.read(tmp_path / "net")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(30))
def test_flipped_bytes_of_msgpack_never_end_in_another_error(seed, tmp_path):
    rng = np.random.default_rng(seed)
    data = bytearray(packed({"ema_params": {"a": np.ones(3, np.float32), "b": {"c": np.ones((2, 2))}}, "step": 3}))
    for at in rng.integers(len(data), size=4):
        data[at] = rng.integers(256)
    (tmp_path / "net").write_bytes(bytes(data))
    with contextlib.suppress(ValueError):
        msgpack.read(tmp_path / "net")
    with pytest.raises(CheckpointError):
        forms.read(tmp_path / "net")


def configured(name, /, **network):
    made = tiny(name)
    return Checkpoint({**made.config, "network": {**made.config["network"], **network}}, made.state)


def settings(name, **changes):
    made = tiny(name)
    return Checkpoint({**made.config, **changes}, made.state)


def without(name, key):
    made = tiny(name)
    network = {field: value for field, value in made.config["network"].items() if field != key}
    return Checkpoint({**made.config, "network": network}, made.state)


def reshaped(name, key, shape):
    made = tiny(name)
    return Checkpoint(made.config, {**made.state, key: torch.zeros(shape)})


def dropped(name, key):
    made = tiny(name)
    return Checkpoint(made.config, {other: tensor for other, tensor in made.state.items() if other != key})


UNFIT = {
    "width": (lambda: configured("guided", model_channels=64), "says model_channels 64, and its tensors 32"),
    "blocks": (lambda: configured("guided", num_res_blocks=10**9), "(num_res_blocks + 1) levels 2000000002, and its"),
    "classes": (lambda: configured("guided", num_classes=7), "says num_classes 7, and its tensors 4"),
    "no classes": (lambda: configured("guided", num_classes=None), "says num_classes None, and its tensors 4"),
    "variance": (lambda: configured("guided", out_channels=3), "says out_channels 3, and its tensors 6"),
    "scale-shift": (lambda: configured("guided", use_scale_shift_norm=False), "has shape (64, 128), the network's (32"),
    "up and down": (lambda: configured("guided", resblock_updown=False), "tensors are missing, such as"),
    "attention": (lambda: configured("guided", attention_resolutions=[1]), "tensors are missing, such as"),
    "heads": (lambda: configured("improved", num_heads=3), "cannot be split into 3 heads"),
    "head channels": (lambda: configured("improved", num_head_channels=48), "cannot be split into heads of 48"),
    "kind of value": (lambda: configured("guided", channel_mult="1,2"), "and its tensors 4"),
    "unknown argument": (lambda: configured("guided", colour=1), "unexpected keyword argument 'colour'"),
    "argument left out": (lambda: without("guided", "model_channels"), "does not say model_channels; by its tensors"),
    "unknown key": (lambda: settings("guided", colour=1), "unknown keys: colour"),
    "no schedule": (lambda: settings("guided", schedule="sqrt"), "unknown schedule 'sqrt'; one of linear, cosine"),
    "labels": (lambda: settings("guided", labels=10**12), "labels must be a whole number from 2 to 100000"),
    "prediction": (lambda: settings("guided", prediction="score"), "its prediction is 'score'; one of eps, x0, v"),
    "label scale": (lambda: settings("guided", label_scale=math.nan), "its label_scale is nan"),
    "no form": (lambda: settings("guided", form="gan"), "unknown form 'gan'"),
    "wrong shape": (lambda: reshaped("guided", "out.2.bias", (5,)), "out.2.bias has shape (5,), the network's (6,)"),
    "one less": (lambda: dropped("guided", "out.2.bias"), "1 tensors are missing, such as out.2.bias"),
    "one more": (lambda: reshaped("guided", "extra", (5,)), "1 tensors have no place in the network, such as extra"),
    "torchcfm": (lambda: configured("torchcfm", num_res_blocks=2), "and its tensors 4"),
    "ddpm width": (lambda: configured("ddpm", ch=64), "says ch 64, and its tensors 32"),
    "ddpm levels": (lambda: configured("ddpm", ch_mult=[1, 2, 2]), "says levels 3, and its tensors 2"),
    "ddpm attention": (lambda: configured("ddpm", attn_resolutions=[8]), "tensors are missing"),
    "ddpm shape": (lambda: reshaped("ddpm", "mid.attn_1.q.weight", (64, 64)), "mid.attn_1.q.weight has shape (64, 64)"),
    "sub-VP": (lambda: settings("ddpmpp", sde="subvp"), "its sde is sub-VP, a path that fewstep does not have"),
    "no sde": (lambda: settings("ddpmpp", sde=None), "its sde is None, and must be vp or ve"),
    "vp as ve": (lambda: settings("ddpmpp", sde="ve"), "embedding_type fourier"),
    "song blocks": (lambda: configured("ddpmpp", num_res_blocks=10**9), "num_res_blocks 1000000000"),
    "song more blocks": (lambda: configured("ddpmpp", num_res_blocks=2), "says modules"),
    "song field": (lambda: configured("ddpmpp", colour=1), "unknown fields: colour"),
    "song kind": (lambda: configured("ddpmpp", resblock_type="ddpm"), "resblock_type is 'ddpm'; only 'biggan'"),
    "song name": (lambda: configured("ddpmpp", name="ncsnv2"), "called 'ncsnv2'; only ncsnpp and ddpm"),
    "song width": (lambda: configured("ddpmpp", nf=32), "says nf 32, and its tensors 16"),
    "song shape": (lambda: reshaped("ddpmpp", "all_modules.2.bias", (5,)), "has shape (5,)"),
    "song without a tensor": (lambda: dropped("ddpmpp", "all_modules.3.Conv_0.bias"), "tensors are missing"),
    "pd width": (lambda: configured("pd", ch=64), "says ch 64, and its tensors 32"),
    "pd blocks": (lambda: configured("pd", num_res_blocks=2), "says num_res_blocks 2, and its tensors 1"),
    "pd mean": (lambda: settings("pd", mean_type="both"), "says out_ch 6, and its tensors 3"),
    "pd unknown mean": (lambda: settings("pd", mean_type="score"), "its mean_type is 'score'; one of x, eps, v, both"),
    "pd input": (lambda: configured("pd", logsnr_input_type="linear"), "only 'inv_cos' is known"),
    "pd shape": (lambda: reshaped("pd", "norm_out/scale", (5,)), "has shape (5,)"),
    "pd without a tensor": (lambda: dropped("pd", "mid.attn_1/q/kernel"), "mid.attn_1/q/kernel"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_configuration_that_its_tensors_deny_is_one_line(what):
    made, message = UNFIT[what]
    with pytest.raises(CheckpointError) as caught:
        forms.build(made())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"guided\.json is no configuration"),
        ("[1]", r"guided\.json is no configuration, but a list"),
        ("[" * 100_000, r"guided\.json is no configuration"),
        ('{"labels": 1000}', "its configuration has no `network`: it must be like"),
        ('{"network": 3}', "its configuration has no `network`"),
    ],
)
def test_a_broken_configuration_beside_the_file_is_one_line(text, message, tmp_path):
    file = write("guided", tmp_path)
    file.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match=message) as caught:
        forms.read(file)
    assert "\n" not in str(caught.value)


def test_every_form_has_shapes_here():
    assert {made["form"] for made in NETWORKS.values()} == set(SHAPES)
    assert OPENAI
