"""Published networks from their files to their outputs."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from fewstep.methods import published_networks
from fewstep.methods.denoiser import NetworkDenoiser
from fewstep.methods.networks.ddpm import DDPMUNet
from fewstep.methods.networks.openai import OpenAIClassifier, OpenAIUNet
from fewstep.methods.paths import FlowOT, VPCosine
from fewstep.methods.specs.teachers.checkpoint import CheckpointOptions
from fewstep.methods.teachers import checkpoint, forms
from fewstep.methods.teachers.forms import Checkpoint, CheckpointError, flax_pd, schedules
from fewstep.methods.teachers.forms.base import outline, tensors_digest
from fewstep.methods.teachers.forms.shapes import SHAPES
from fewstep.methods.teachers.forms.writing import drawn as weights
from fewstep.methods.teachers.forms.writing import prefixed
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


def test_every_form_has_shapes_here():
    assert {made["form"] for made in NETWORKS.values()} == set(SHAPES)
    assert OPENAI
