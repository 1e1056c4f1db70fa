"""What every extractor says of itself, the ways to resize, and samples as uint8 images."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from fewstep.bench import published_files as weights
from fewstep.bench.metrics.extractors import EXTRACTORS, registry
from fewstep.bench.metrics.extractors.network import full_precision
from fewstep.bench.metrics.extractors.quantise import QUANTISERS
from fewstep.bench.metrics.extractors.resize import RESIZERS, as_rgb, tf1
from fewstep.tests.bench.stand_ins import images

INCEPTION_FILE = "inception-2015-12-05-6726825d.pth"
BY_ENTRY = {
    "tf1_bilinear": "tf1",
    "torch_bilinear": "legacy-pytorch",
    "pil_bicubic_float": "clean",
    "pil_bicubic_uint8": "pil-bicubic-uint8",
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_everything_that_an_extractor_needs_is_in_the_register(name):
    extractor = EXTRACTORS[name]
    assert extractor.name == name
    assert set(extractor.files) <= set(weights.REGISTER)
    assert extractor.resize in RESIZERS


@pytest.mark.parametrize("name", sorted(EXTRACTORS))
def test_an_absent_file_is_one_line_before_anything_is_loaded(name, empty_folder, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda module: module)
    extractor = EXTRACTORS[name]
    line = str(extractor.missing())
    assert line.startswith(f"missing {empty_folder / extractor.files[0]}, get it by `curl")
    with pytest.raises(FileNotFoundError) as error:
        extractor.load()
    assert str(error.value) == line


def test_an_absent_package_is_one_line(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda module: None)
    assert str(EXTRACTORS["inception-tf1"].missing()) == (
        "missing package torch_fidelity, get it by `pip install torch-fidelity`"
    )
    assert str(EXTRACTORS["clip-vitb32"].missing()) == (
        "missing package open_clip, get it by `pip install open-clip-torch`"
    )
    monkeypatch.setattr(registry, "find_spec", lambda module: None if module == "transformers" else module)
    assert str(EXTRACTORS["pickscore"].missing()) == (
        "missing package transformers, get it by `pip install 'fewstep[text]'`"
    )


def test_a_truncated_weight_file_is_named_before_anything_runs(empty_folder, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda module: module)
    (empty_folder / INCEPTION_FILE).write_bytes(b"PK\x03\x04 the first bytes")
    with pytest.raises(FileNotFoundError, match=rf"{INCEPTION_FILE} \(another hash than 6726825d: truncated\?\), get"):
        EXTRACTORS["inception-tf1"].load()


def test_each_resize_mode_of_the_one_inception_is_a_protocol_of_its_own():
    protocols = [EXTRACTORS[f"inception-{mode}"].protocol() for mode in ("tf1", "legacy-pytorch", "clean")]
    assert protocols == [f"inception@6726825d/{mode}" for mode in ("tf1", "legacy-pytorch", "clean")]


def test_a_protocol_names_model_weights_tag_prefix_and_scale(empty_folder, monkeypatch):
    plain = EXTRACTORS["clip-vitb32"]
    with pytest.raises(FileNotFoundError, match=r"missing .*ViT-B-32-openai.safetensors"):
        plain.protocol()
    (empty_folder / plain.files[0]).write_bytes(b"weights")
    digits = weights.sha256(empty_folder / plain.files[0])[:8]
    rest = "pil-bicubic-uint8/model=ViT-B-32-quickgelu/tag=openai"
    assert plain.protocol() == f"clip@{digits}/{rest}/prefix=none/x100"
    assert replace(plain, prefix="A photo depicts ").protocol().endswith("/prefix=A photo depicts/x100")


def test_clips_configurations_are_open_clips_and_openais_run_with_quick_gelu():
    open_clip = pytest.importorskip("open_clip")
    found = [extractor for extractor in EXTRACTORS.values() if isinstance(extractor, registry.ClipExtractor)]
    assert len(found) == 6
    for extractor in found:
        config = open_clip.get_model_config(extractor.model)
        assert config.get("quick_gelu", False) == (extractor.tag == "openai")
    with pytest.raises(ValueError, match="OpenAI's weights need ViT-L-14-quickgelu, not ViT-L-14"):
        replace(EXTRACTORS["aesthetic"], model="ViT-L-14")


def test_loading_asks_no_server(empty_folder, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(registry, "find_spec", lambda module: module)
    monkeypatch.setattr(weights, "missing", lambda file: None)
    monkeypatch.setattr(registry, "_path", lambda file: empty_folder)
    asked = []
    monkeypatch.setattr(
        registry.DinoV2Extractor,
        "build",
        lambda self, files: asked.append(os.environ["HF_HUB_OFFLINE"]) or torch.nn.Identity(),
    )
    EXTRACTORS["dinov2-vitl14"].load()
    assert asked == ["1"]


def test_the_resizers_are_the_reference_ones(reference_folder):
    file = reference_folder / "metrics" / "resize_cases.npz"
    if not file.is_file():
        pytest.skip("resize_cases.npz is not in the reference folder")
    pytest.importorskip("cleanfid")
    checked = set()
    with np.load(file, allow_pickle=False) as cases:
        for entry in cases.files:
            case, _, kind = entry.partition("_")
            mode = next((BY_ENTRY[name] for name in sorted(BY_ENTRY) if kind.startswith(f"{name}_n")), None)
            if mode is None:
                continue
            pixels = torch.from_numpy(cases[f"{case}_input_nhwc_uint8"]).permute(0, 3, 1, 2)
            expected = torch.from_numpy(cases[entry]).float()
            expected = expected if "nchw" in entry else expected.permute(0, 3, 1, 2)
            found = RESIZERS[mode](pixels, 13)
            tolerance = {"pil-bicubic-uint8": 0.0, "clean": 1e-3}.get(mode, 2e-4)
            torch.testing.assert_close(
                found, expected, rtol=0, atol=tolerance, msg=lambda text, e=entry: f"{e}: {text}"
            )
            checked.add((case, mode))
    assert {mode for _, mode in checked} == set(BY_ENTRY.values())


@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (512, 512), (20, 26), (299, 299)])
def test_tf1_is_torch_fidelitys_to_the_last_bit(shape):
    tensorflow = pytest.importorskip("torch_fidelity.interpolate_compat_tensorflow")
    x = torch.randint(256, (2, 3, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = tensorflow.interpolate_bilinear_2d_like_tensorflow1x(x.float(), size=(299, 299), align_corners=False)
    assert torch.equal(tf1(x, 299), expected)


def test_tf1_reads_at_target_times_in_over_out_without_a_shift():
    ramp = (40 * torch.arange(5, dtype=torch.uint8)).expand(1, 3, 5, 5)
    expected = (40 * torch.arange(13) * 5 / 13).clamp(max=160)
    torch.testing.assert_close(tf1(ramp, 13)[0, 0, 0], expected)
    torch.testing.assert_close(tf1(ramp.mT, 13)[0, 0, :, 0], expected)


@pytest.mark.parametrize("side", [16, 300])
def test_clean_and_rounded_bicubic_are_clean_fids_own(side):
    resize = pytest.importorskip("cleanfid.resize")
    x = torch.randint(256, (3, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for mode, quantise, to in (("clean", False, 299), ("pil-bicubic-uint8", True, 224)):
        official = resize.make_resizer("PIL", quantise, "bicubic", (to, to))
        expected = np.stack([official(image) for image in x.permute(0, 2, 3, 1).numpy()])
        assert np.array_equal(RESIZERS[mode](x, to).permute(0, 2, 3, 1).numpy(), expected.astype(np.float32))


def test_legacy_pytorch_does_not_antialias():
    x = images(2, 512)
    official = functional.interpolate(x / 255, size=(299, 299), mode="bilinear", align_corners=False)
    antialiased = functional.interpolate(x / 255, size=(299, 299), mode="bilinear", antialias=True)
    found = RESIZERS["legacy-pytorch"](x, 299) / 255
    torch.testing.assert_close(found, official, rtol=0, atol=1e-6)
    assert (found - antialiased).abs().max() > 0.01


def test_cmmds_bicubic_overshoots_and_does_not_antialias():
    x = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    x[..., 20:] = 255
    found = RESIZERS["torch-bicubic"](x, 12) / 255
    torch.testing.assert_close(found, functional.interpolate(x / 255, size=(12, 12), mode="bicubic"))
    assert RESIZERS["torch-bicubic"](x, 336).max() > 256


@pytest.mark.parametrize("mode", sorted(RESIZERS))
def test_no_two_modes_agree_and_none_mixes_images(mode):
    if mode == "clean":
        pytest.importorskip("cleanfid")
    x = images(3, 20)
    found = RESIZERS[mode](x, 33)
    assert found.dtype == torch.float32
    assert torch.equal(found[1:2], RESIZERS[mode](x[1:2], 33))
    for other in set(RESIZERS) - {mode, "clean"}:
        assert (found - RESIZERS[other](x, 33)).abs().max() > 0.4


def test_grey_images_are_repeated_and_anything_but_uint8_images_is_refused():
    grey = images(2, 8, channels=1)
    assert torch.equal(as_rgb(grey), grey.repeat(1, 3, 1, 1))
    with pytest.raises(ValueError, match=r"uint8 images, not torch.float32: quantise samples first"):
        as_rgb(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"not \(2, 8, 8, 3\)"):
        as_rgb(torch.zeros(2, 8, 8, 3, dtype=torch.uint8))


def test_rounding_is_edms_and_truncation_adms():
    x = torch.linspace(-1.2, 1.2, 100_001)
    edm = (x * 127.5 + 128).clip(0, 255).to(torch.uint8)
    adm = ((x + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    assert torch.equal(QUANTISERS["round"](x), edm)
    assert torch.equal(QUANTISERS["truncate"](x), adm)
    inside = x.abs() <= 1
    error = QUANTISERS["round"](x)[inside].double() - (x[inside].double() + 1) * 127.5
    assert error.abs().max() <= 0.5 + 1e-4
    darker = QUANTISERS["truncate"](x)[inside].double() - (x[inside].double() + 1) * 127.5
    assert darker.mean() == pytest.approx(-0.5, abs=0.01)


@pytest.mark.parametrize("name", sorted(QUANTISERS))
def test_every_grey_level_survives_the_way_to_samples_and_back(name):
    levels = torch.arange(256, dtype=torch.uint8)
    offset = 0.25 if name == "truncate" else 0.0
    assert torch.equal(QUANTISERS[name]((levels.double() + offset) / 127.5 - 1), levels)
    assert QUANTISERS[name](torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_features_are_float32_whatever_the_training_around_them_uses():
    torch.set_float32_matmul_precision("medium")
    try:
        x = torch.randn(4, 4, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16), full_precision(torch.device("cpu")):
            y = x @ x
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert y.dtype == torch.float32
        assert not y.requires_grad
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
