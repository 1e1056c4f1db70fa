"""The real Inception network with random weights under the real file's name, against the packages that define FID."""

import warnings

import numpy as np
import pytest
import torch

from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.tests.bench.stand_ins import INCEPTION as FILE
from fewstep.tests.bench.stand_ins import images, inception, register

MODES = ("tf1", "legacy-pytorch", "clean")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
cleanfid = pytest.importorskip("cleanfid.inception_pytorch")


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory):
    return inception(tmp_path_factory.mktemp("weights")).parent


@pytest.fixture
def file(weights_folder, monkeypatch):
    register(monkeypatch, weights_folder, FILE)
    return weights_folder / FILE


@pytest.fixture
def pytorch_fid(file, tmp_path, monkeypatch):
    """clean-fid's copy of pytorch-fid's network, with its own loader from torch.hub's folder."""
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / f"pt_{FILE}").symlink_to(file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return lambda **options: cleanfid.InceptionV3(output_blocks=[3], **options).eval()


def test_tf1_features_are_torch_fidelitys(file):
    official = fidelity.FeatureExtractorInceptionV3(
        "official", ["2048", "logits_unbiased", "logits"], feature_extractor_weights_path=file
    )
    x = images(2, 64)
    with torch.no_grad():
        pool, logits, biased = official(x)
    found = EXTRACTORS["inception-tf1"].load()(x)
    assert found["pool"].std() > 0.05
    torch.testing.assert_close(found["pool"], pool, rtol=0, atol=0)
    torch.testing.assert_close(found["logits"], logits, rtol=0, atol=0)
    assert (found["logits"] - biased).abs().max() > 0.5


def test_legacy_features_are_pytorch_fids(pytorch_fid):
    """As clean-fid's "legacy_pytorch", which is pytorch-fid's with the resizing taken out of the network."""
    from cleanfid.resize import build_resizer

    x = images(2, 64)
    with warnings.catch_warnings():  # clean-fid silences all warnings from here on
        resize = build_resizer("legacy_pytorch")
    resized = np.stack([resize(image) for image in x.permute(0, 2, 3, 1).numpy()])
    network = pytorch_fid(resize_input=False)
    expected = network(torch.from_numpy(resized).permute(0, 3, 1, 2) / 255)[0].flatten(1)
    found = EXTRACTORS["inception-legacy-pytorch"].load()(x)["pool"]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.std()))


def test_clean_features_are_those_of_clean_fids_resizer(pytorch_fid):
    from cleanfid.resize import build_resizer

    x = images(2, 64)
    resized = np.stack([build_resizer("clean")(image) for image in x.permute(0, 2, 3, 1).numpy()])
    network = pytorch_fid(resize_input=False, normalize_input=False)
    expected = network((torch.from_numpy(resized).permute(0, 3, 1, 2) - 128) / 128)[0].flatten(1)
    found = EXTRACTORS["inception-clean"].load()(x)["pool"]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.std()))


def test_spatial_features_are_seven_channels_of_the_graphs_mixed_6_position_by_position(file):
    """guided-diffusion's evaluator: mixed_6/conv:0[..., :7], which is Mixed_6d in torchvision's names."""
    official = fidelity.FeatureExtractorInceptionV3("official", ["2048"], feature_extractor_weights_path=file)
    seen = []
    official.Mixed_6d.branch1x1.register_forward_hook(lambda module, args, out: seen.append(out))
    x = images(2, 64)
    with torch.no_grad():
        official(x)
    found = EXTRACTORS["inception-tf1"].load()(x)["spatial"]
    assert found.shape == (2, 2023)
    assert torch.equal(found.view(2, 17, 17, 7)[1, 3, 5], seen[0][1, :7, 3, 5])
    assert torch.equal(found.view(2, 17, 17, 7), seen[0][:, :7].permute(0, 2, 3, 1))


@pytest.mark.parametrize("mode", MODES)
def test_a_row_is_its_own_images_alone_and_grey_is_rgb(file, mode):
    network = EXTRACTORS[f"inception-{mode}"].load()
    grey = images(3, 16, channels=1)
    together = network(grey)
    alone = network(grey[2:].repeat(1, 3, 1, 1))
    for name, features in together.items():
        assert features.dtype == torch.float32
        assert not features.requires_grad
        torch.testing.assert_close(features[2:], alone[name], rtol=1e-4, atol=1e-5 * float(features.abs().max()))
        assert (features[0] - features[1]).abs().max() > 0.01 * features.std()


def test_the_modes_give_other_features(file):
    x = images(1, 64)
    pools = [EXTRACTORS[f"inception-{mode}"].load()(x)["pool"] for mode in MODES]
    for i, first in enumerate(pools):
        for second in pools[i + 1 :]:
            assert (first - second).abs().max() > 1e-3 * first.abs().max()


def test_a_file_that_would_run_code_is_not_unpickled(tmp_path, monkeypatch):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"fc.weight": Trap()}, tmp_path / FILE)
    register(monkeypatch, tmp_path, FILE)
    with pytest.raises(Exception, match="Weights only load failed"):
        EXTRACTORS["inception-tf1"].load()
    assert not (tmp_path / "sprung").exists()
