"""Files that are no network, or none of the form that they say: one line each, and nothing in them runs."""

import contextlib
import io
import math
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from fewstep.bench.suite import first_bytes
from fewstep.methods import msgpack
from fewstep.methods.teachers import forms
from fewstep.methods.teachers.forms import Checkpoint, CheckpointError
from fewstep.methods.teachers.forms.writing import array, content, extension, packed, tree
from fewstep.tests.methods.published import tiny, write

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


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


@pytest.mark.filterwarnings("ignore:.*sparse.*")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_one_line_already_when_its_suite_is_loaded(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.pt").write_bytes(HOSTILE[what][0]())
    reason = first_bytes.fault(tmp_path / "net.pt", (3, 8, 8))
    assert reason is not None
    assert "\n" not in reason
    assert len(reason) < 600
    assert not (tmp_path / "executed").exists()
    assert ("compressed" in reason) == (what == "compressed")


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
