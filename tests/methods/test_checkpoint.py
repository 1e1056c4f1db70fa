"""Networks of others: EDM's .pkl without running it, safetensors with their configuration, and what they become."""

import copyreg
import io
import json
import os
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fewstep.methods import unpickling
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.networks import edm_network
from fewstep.methods.specs.teachers.checkpoint import CheckpointOptions
from fewstep.methods.teachers import checkpoint, edm_pickle
from fewstep.methods.teachers.checkpoint import CheckpointError

SONG = {
    "img_resolution": 8, "img_channels": 3, "label_dim": 4, "model_type": "SongUNet", "model_channels": 16,
    "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "augment_dim": 9,
}  # fmt: skip
KINDS = {
    "edm": {"precond": "EDMPrecond", "kwargs": SONG},
    "vp": {"precond": "VPPrecond", "kwargs": SONG},
    "ve": {"precond": "VEPrecond", "kwargs": {**SONG, "embedding_type": "fourier", "resample_filter": [1, 3, 3, 1]}},
    "iddpm": {"precond": "iDDPMPrecond", "kwargs": {**SONG, "model_type": "DhariwalUNet", "augment_dim": 0}},
}
SHAPE = (3, 8, 8)


def drawn(config, seed=0):
    """The network with every weight drawn, so that each contributes."""
    network = edm_network(config)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=rng))
    return network.eval()


class Persistent(pickle.Pickler):
    """Writes a network of ours as EDM's code writes its own: each object a call with its class's source text."""

    init = ()

    def reducer_override(self, obj):
        if not isinstance(obj, nn.Module) or type(obj).__module__.startswith("torch."):
            return NotImplemented
        kept = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training")
        state = {name: obj.__dict__[name] for name in kept}
        state |= {"skip_scale": np.sqrt(0.5), "_init_args": self.init, "_init_kwargs": dict(self.kwargs)}
        source = "raise SystemExit('the source text was executed')"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": self.class_name, "state": state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,), None


@pytest.fixture
def persistence(monkeypatch):
    """The modules that EDM's pickles name."""
    for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def _reconstruct_persistent_obj(meta):
        raise SystemExit("it was unpickled by name")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj


@pytest.fixture
def write(tmp_path, persistence):
    def written(config, network, name="net.pkl", init=()):
        buffer = io.BytesIO()
        pickler = Persistent(buffer, protocol=4)
        pickler.class_name, pickler.kwargs, pickler.init = config["precond"], config["kwargs"], init
        pickler.dump({"ema": network, "loss_fn": None, "augment_pipe": None, "dataset_kwargs": {}})
        (tmp_path / name).write_bytes(buffer.getvalue())
        return tmp_path / name

    return written


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_gives_every_tensor_and_the_configuration_and_runs_nothing(write, kind):
    network = drawn(KINDS[kind])
    config, state = edm_pickle.read(write(KINDS[kind], network))
    assert config == KINDS[kind]
    assert list(state) == list(network.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_the_denoiser_is_the_network_at_every_sigma_and_label(write, kind):
    network = drawn(KINDS[kind])
    read = checkpoint.read(write(KINDS[kind], network))
    denoiser = checkpoint.denoiser(read, CheckpointOptions(file="net"), SHAPE, classes=4).eval()
    x, labels = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 3, 1, 4, 2])
    one_hot = torch.eye(5)[labels][:, :4]
    for sigma in (denoiser.path.t_min, 0.7, denoiser.path.t_max):
        levels = torch.full((5,), float(sigma))
        expected = network(sigma * x, levels, one_hot)
        # x0 = x - sigma eps cancels: its rounding is of sigma's size.
        near = {"rtol": 1e-5, "atol": 1e-6 * max(1.0, float(sigma))}
        torch.testing.assert_close(denoiser(sigma * x, float(sigma), labels), expected, **near)
        without = network(sigma * x, levels, torch.zeros(5, 4))
        torch.testing.assert_close(denoiser(sigma * x, float(sigma)), without, **near)
        assert (expected - without).abs().max() > 3e-5


def test_edms_networks_are_copied_by_students_and_the_range_is_what_the_network_knows(write):
    options = CheckpointOptions(file="net")
    found = {
        kind: checkpoint.denoiser(checkpoint.Checkpoint(config, drawn(config).state_dict()), options, SHAPE, 4)
        for kind, config in KINDS.items()
    }
    assert isinstance(found["edm"], EDMDenoiser)
    assert (found["edm"].path.t_min, found["edm"].path.t_max, found["edm"].sigma_data) == (0.002, 80.0, 0.5)
    assert (found["ve"].path.t_min, found["ve"].path.t_max) == (0.02, 80.0)
    assert found["vp"].path.t_max == 80.0
    assert found["iddpm"].path.t_min > 0.002


def test_reference_files_are_denoisers_as_they_lie(reference_folder):
    files = sorted((reference_folder / "networks").glob("*_*.safetensors"))
    files = [file for file in files if "precond" in json.loads(file.with_suffix(".json").read_text())]
    if not files:
        pytest.skip("weights: in the full set only")
    for file in files:
        arrays, read = np.load(file.with_suffix(".npz")), checkpoint.read(file)
        x, sigma = (torch.as_tensor(arrays[name]).float() for name in ("x", "sigma"))
        options = CheckpointOptions(file=str(file), sigma_min=1e-3, sigma_max=1e3)
        denoiser = checkpoint.denoiser(read, options, tuple(x.shape[1:]), read.classes).eval()
        labels = torch.as_tensor(arrays["class_labels"]).argmax(1) if read.classes else None
        expected = torch.as_tensor(arrays["D"])
        with torch.no_grad():
            torch.testing.assert_close(denoiser(x, sigma, labels), expected, rtol=0, atol=2e-5 * expected.abs().max())


def test_students_have_the_dropout_that_is_asked_for_and_not_the_files():
    config = {"precond": "EDMPrecond", "kwargs": {**SONG, "dropout": 0.5}}
    made = checkpoint.Checkpoint(config, drawn(config).state_dict())
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    for dropout in (0.0, 0.3):
        denoiser = checkpoint.denoiser(made, CheckpointOptions(file="net", dropout=dropout), SHAPE, 4).train()
        assert torch.equal(denoiser(x, 1.0), denoiser(x, 1.0)) == (dropout == 0.0)


def test_safetensors_carry_their_configuration_in_the_header_or_beside_them(tmp_path):
    network = drawn(KINDS["edm"])
    made = checkpoint.Checkpoint(KINDS["edm"], network.state_dict())
    made.save(tmp_path / "a.safetensors")
    save_file(network.state_dict(), tmp_path / "b.safetensors")
    (tmp_path / "b.json").write_text(json.dumps(KINDS["edm"]))
    for name in ("a.safetensors", "b.safetensors"):
        read = checkpoint.read(tmp_path / name)
        assert (read.config, read.classes) == (KINDS["edm"], 4)
        assert all(torch.equal(read.state[key], tensor) for key, tensor in network.state_dict().items())


class Call:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Reference(pickle.Pickler):
    def persistent_id(self, obj):
        return "elsewhere" if obj == "here" else None


def referring(value):
    buffer = io.BytesIO()
    Reference(buffer, protocol=4).dump(value)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: pickle.dumps({"ema": Call(os.system, "touch executed")}), "posix.system, which is not needed"),
        (lambda: pickle.dumps({"ema": Call(eval, "1")}), "builtins.eval, which is not needed"),
        (lambda: pickle.dumps(Call(getattr, [], "sort")), "builtins.getattr"),
        (lambda: pickle.dumps({"ema": Call(__import__, "os")}), "builtins.__import__"),
        (lambda: pickle.dumps({"ema": nn.Linear(2, 2)}), "torch.nn.modules.linear.Linear"),
        (lambda: referring({"ema": "here"}), "it refers to another file"),
        (lambda: pickle.dumps([1, 2]), "not a network that EDM's code wrote"),
        (lambda: pickle.dumps({"G": 1}), "'ema'"),
        (lambda: pickle.dumps({"ema": 1}), "not a network that EDM's code wrote"),
        (lambda: pickle.dumps({"ema": np.array([object()], dtype=object)}), "builtins.object"),
        (lambda: pickle.dumps({"ema": list(range(100))})[:-9], "not a network that EDM's code wrote"),
        (lambda: b"", "not a network that EDM's code wrote"),
        (lambda: b"<!doctype html>", "not a network that EDM's code wrote"),
    ],
)
def test_a_pickle_that_names_anything_else_is_refused_and_nothing_runs(tmp_path, monkeypatch, made, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pkl").write_bytes(made())
    with pytest.raises(CheckpointError, match=r"^\S*net\.pkl: not a network that EDM's code wrote") as caught:
        checkpoint.read(tmp_path / "net.pkl")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("raised", [AssertionError("no such storage\nin the file"), MemoryError(), SystemError("x")])
def test_whatever_a_listed_call_raises_in_a_broken_pickle_is_one_line(tmp_path, raised):
    def listed():
        raise raised

    (tmp_path / "net.pkl").write_bytes(b"cm\nf\n)R.")
    with pytest.raises(ValueError, match=r"^(no such storage|MemoryError|x)$"):
        unpickling.load(tmp_path / "net.pkl", {("m", "f"): listed})


def test_extension_codes_do_not_pass_the_list(tmp_path):
    """A number may stand for a name that the process has registered."""
    copyreg.add_extension("os", "getcwd", 240)
    try:
        (tmp_path / "net.pkl").write_bytes(pickle.PROTO + b"\x02" + pickle.EXT1 + b"\xf0" + b")R.")
        with pytest.raises(CheckpointError, match=r"os\.getcwd, which is not needed"):
            checkpoint.read(tmp_path / "net.pkl")
    finally:
        copyreg.remove_extension("os", "getcwd", 240)


def test_another_version_and_positional_arguments_are_refused(write, persistence, tmp_path):
    network = drawn(KINDS["edm"])
    with pytest.raises(CheckpointError, match="positional arguments"):
        checkpoint.read(write(KINDS["edm"], network, init=(8,)))
    reconstruct = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj
    meta = {"type": "class", "version": 5, "module_src": "", "class_name": "EDMPrecond", "state": {}}
    (tmp_path / "old.pkl").write_bytes(pickle.dumps({"ema": Call(reconstruct, meta)}))
    with pytest.raises(CheckpointError, match="persistence version 5, not 6"):
        checkpoint.read(tmp_path / "old.pkl")


@pytest.mark.parametrize("name", ["none.pkl", "none.safetensors"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(CheckpointError, match=f"{name}: no such file"):
        checkpoint.read(tmp_path / name)


def test_safetensors_without_a_configuration_or_cut_short_are_named(tmp_path):
    network = drawn(KINDS["edm"])
    save_file(network.state_dict(), tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"b\.safetensors: no configuration in its header, nor a file b\.json"):
        checkpoint.read(tmp_path / "b.safetensors")
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"b\.safetensors: not a network in EDM's form"):
        checkpoint.read(tmp_path / "b.safetensors")
    (tmp_path / "b.json").write_text('{"kwargs": {}}')
    with pytest.raises(CheckpointError, match=r"b\.safetensors: .*no precond or no kwargs"):
        checkpoint.read(tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "b.safetensors").read_bytes()[:500])
    with pytest.raises(CheckpointError, match=r"b\.safetensors: not a network in EDM's form"):
        checkpoint.read(tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("change", "shape", "classes", "message"),
    [
        ({}, (3, 32, 32), 4, r"its images have shape \(3, 8, 8\), the data set's \(3, 32, 32\)"),
        ({}, SHAPE, 10, "trained on 4 classes, and the data set has 10"),
        ({"model_channels": 32}, SHAPE, 4, "not a network in EDM's form: .*size mismatch"),
        ({"num_blocks": 2}, SHAPE, 4, "not a network in EDM's form: .*[Mm]issing key"),
        ({"model_type": "Other"}, SHAPE, 4, "Other"),
        ({"colour": 1}, SHAPE, 4, "colour"),
    ],
)
def test_a_network_of_something_else_is_refused_in_one_line(change, shape, classes, message):
    config = {"precond": "EDMPrecond", "kwargs": {**SONG, **change}}
    made = checkpoint.Checkpoint(config, drawn(KINDS["edm"]).state_dict())
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.denoiser(made, CheckpointOptions(file="net"), shape, classes)
    assert "\n" not in str(caught.value)
