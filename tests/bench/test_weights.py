"""Files that others publish: where they are looked for, and what is said of one that is absent, wrong or cut short."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from fewstep.bench import published_files as weights
from fewstep.bench.metrics.extractors.statistics import load_statistics, moments_of

INCEPTION = "inception-2015-12-05-6726825d.pth"
AESTHETIC = "sac+logos+ava1-l14-linearMSE.pth"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "weights" / "stats").mkdir(parents=True)
    return tmp_path / "weights"


def with_hash_of(monkeypatch, name, content):
    """The register as if `content` were what is published under the name."""
    entry = replace(weights.REGISTER[name], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(weights.REGISTER, name, entry)


def safetensors(payload=b"\0" * 64):
    header = json.dumps({"w": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}).encode()
    return len(header).to_bytes(8, "little") + header + payload


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("name", sorted(weights.REGISTER))
def test_every_absent_file_has_one_line_with_the_command_that_gets_it(folder, name):
    line, file = str(weights.missing(name)), weights.REGISTER[name]
    assert weights.find(name) is None
    url = f"'{file.url}'" if "?" in file.url else file.url
    command = f"curl -fL --create-dirs -o {folder / name} {url}"
    if file.saved_as:
        command = f"save {file.saved_as} of {url} as {folder / name}"
    assert line == f"missing {folder / name}, get it by `{command}`"
    assert "\n" not in line
    assert file.url.startswith("https://")
    assert file.needed_by


def test_files_belong_in_the_users_cache_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("FEWSTEP_WEIGHTS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.folder() == tmp_path / "fewstep" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.folder() == tmp_path / ".cache" / "fewstep" / "weights"


def test_a_path_with_a_space_can_be_pasted_into_a_shell(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path / "my weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert f"-o '{tmp_path}/my weights/{AESTHETIC}' https://" in weights.missing(AESTHETIC).command


def test_what_torch_hub_has_downloaded_is_found_under_either_release_name(folder, tmp_path, monkeypatch):
    with_hash_of(monkeypatch, INCEPTION, b"inception")
    hub = tmp_path / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    for prefix in ("pt_", "weights-"):
        (hub / f"{prefix}{INCEPTION}").write_bytes(b"inception")
        assert weights.find(INCEPTION) == hub / f"{prefix}{INCEPTION}"
        assert weights.missing(INCEPTION) is None
    (folder / INCEPTION).write_bytes(b"inception")
    assert weights.find(INCEPTION) == folder / INCEPTION


def test_the_hubs_eight_digits_are_the_start_of_the_hash(folder, monkeypatch):
    (folder / INCEPTION).write_bytes(b"another network")
    line = str(weights.missing(INCEPTION))
    assert line.startswith(f"{folder / INCEPTION} (another hash than 6726825d: truncated?), get it again by `curl")
    entry = replace(weights.REGISTER[INCEPTION], sha256=hashlib.sha256(b"another network").hexdigest()[:8])
    monkeypatch.setitem(weights.REGISTER, INCEPTION, entry)
    assert weights.missing(INCEPTION) is None


def test_a_file_is_hashed_once_until_it_changes(folder, monkeypatch):
    with_hash_of(monkeypatch, INCEPTION, b"whole")
    (folder / INCEPTION).write_bytes(b"whole")
    read = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: read.append(1) or digest(*args))
    assert weights.missing(INCEPTION) is None
    assert weights.missing(INCEPTION) is None
    assert len(read) == 1
    (folder / INCEPTION).write_bytes(b"whol")
    assert weights.missing(INCEPTION).fault == "wrong hash"
    assert len(read) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ViT-L-14-openai.safetensors", safetensors()),
        ("HPS_v2_compressed.pt", npz(w=np.zeros(100))),
        ("stats/cifar10-32x32.npz", npz(mu=np.zeros(100))),
    ],
)
def test_a_truncated_file_without_a_published_hash_is_named_too(folder, name, content):
    (folder / name).write_bytes(content)
    assert weights.missing(name) is None
    for broken in (content[:-1], content[:20], b"<!doctype html><title>404</title>" * 3):
        (folder / name).write_bytes(broken)
        line = str(weights.missing(name))
        assert line.startswith(f"{folder / name} (cut short, or not what its name says), get it again by"), broken


def test_plan_time_needs_neither_torch_nor_the_network(folder):
    code = (
        "import sys\n"
        "from fewstep.bench.metrics.extractors import EXTRACTORS\n"
        "lines = [str(extractor.missing()) for extractor in EXTRACTORS.values()]\n"
        "assert all('missing' in line for line in lines), lines\n"
        "heavy = ('torch', 'timm', 'open_clip', 'transformers', 'torch_fidelity', 'cleanfid', 'huggingface_hub')\n"
        "assert not [name for name in heavy if name in sys.modules]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    before = time.perf_counter()
    weights.missing(INCEPTION)
    assert time.perf_counter() - before < 0.1


class TestStatistics:
    mu = np.arange(4.0)
    sigma = np.diag([1.0, 2, 3, 4]) + 0.5

    def read(self, path, **arrays):
        path.write_bytes(npz(**arrays))
        return load_statistics(path)

    def test_clean_fids_and_edms_files_are_mean_and_covariance(self, tmp_path):
        mu, sigma, extras = self.read(tmp_path / "cifar10-32x32.npz", mu=self.mu, sigma=self.sigma)
        assert np.array_equal(mu, self.mu)
        assert np.array_equal(sigma, self.sigma)
        assert extras == {}

    def test_adms_files_carry_sfids_moments_and_keep_their_images(self, tmp_path):
        spatial = {"mu_s": np.ones(3), "sigma_s": np.eye(3)}
        images = np.zeros((5, 8, 8, 3), np.uint8)
        mu, _, extras = self.read(tmp_path / "x.npz", mu=self.mu, sigma=self.sigma, arr_0=images, **spatial)
        assert np.array_equal(mu, self.mu)
        assert set(extras) == {"mu_s", "sigma_s"}
        assert np.array_equal(extras["sigma_s"], np.eye(3))

    def test_clean_fids_kid_files_hold_the_features_themselves(self, tmp_path):
        features = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
        mu, sigma, extras = self.read(tmp_path / "x_kid.npz", feats=features)
        np.testing.assert_allclose(mu, features.astype(np.float64).mean(0), rtol=1e-12)
        np.testing.assert_allclose(sigma, np.cov(features.astype(np.float64).T), rtol=1e-12)
        assert extras == {"n": 50}

    def test_how_many_images_gave_them_is_read(self, tmp_path):
        extras = self.read(tmp_path / "x.npz", mu=self.mu, sigma=self.sigma, n=50_000, protocol="inception/tf1")[2]
        assert extras == {"n": 50_000, "protocol": "inception/tf1"}

    def test_register_names_are_clean_fids(self):
        file = weights.clean_fid_statistics("FFHQ", "clean", "trainval70k", 1024)
        assert file.name == "stats/ffhq_clean_trainval70k_1024.npz"
        assert file.url.endswith("/~clean-fid/stats/ffhq_clean_trainval70k_1024.npz")
        assert weights.REGISTER[file.name] == file

    @pytest.mark.parametrize(
        ("arrays", "why"),
        [
            ({"arr_0": np.zeros((2, 4, 4, 3), np.uint8)}, "holds arr_0: reference statistics have mu and sigma"),
            ({"mu": mu, "sigma": np.eye(3)}, r"mean of shape \(4,\) and a covariance of shape \(3, 3\)"),
            ({"mu": mu * np.nan, "sigma": sigma}, "not finite"),
            ({"mu": mu, "sigma": np.triu(sigma)}, "not symmetric"),
            ({"mu": mu, "sigma": sigma, "mu_s": np.ones(3)}, r"covariance of shape \(0,\)"),
            ({"mu": np.array([{}]), "sigma": sigma}, "would have to be unpickled"),
        ],
    )
    def test_a_file_of_something_else_is_named_in_one_line(self, tmp_path, arrays, why):
        with pytest.raises(ValueError, match=why) as error:
            self.read(tmp_path / "x.npz", **arrays)
        assert str(tmp_path / "x.npz") in str(error.value)
        assert "\n" not in str(error.value)

    def test_edm2s_file_gives_fids_moments_and_no_others(self, tmp_path):
        """DINOv2's are there too, of images that were resized in another way than here."""
        rng = np.random.default_rng(0)
        features = rng.normal(size=(50, 2048))
        fid = {"mu": features.mean(0), "sigma": np.cov(features, rowvar=False)}
        content = {"fid": fid, "fd_dinov2": {"mu": np.zeros(1024), "sigma": np.eye(1024)}}
        (tmp_path / "img64.pkl").write_bytes(pickle.dumps(content))
        mu, sigma = moments_of(tmp_path / "img64.pkl", "pool")
        assert np.array_equal(mu, fid["mu"])
        assert np.array_equal(sigma, fid["sigma"])
        with pytest.raises(ValueError, match="those of FID are read"):
            moments_of(tmp_path / "img64.pkl", "cls")

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (pickle.dumps({"fid": os.system}), "names posix.system"),
            (pickle.dumps({"G": 1}), "none of EDM2's files: 'fid'"),
            (pickle.dumps({"fid": {"mu": np.zeros(3), "sigma": np.eye(2)}}), "covariance of shape"),
            (pickle.dumps({"fid": {"mu": np.zeros(300), "sigma": np.eye(3)}})[:-99], "none of EDM2's files"),
        ],
    )
    def test_a_pickle_of_something_else_is_named_in_one_line(self, tmp_path, content, why):
        (tmp_path / "x.pkl").write_bytes(content)
        with pytest.raises(ValueError, match=why) as error:
            moments_of(tmp_path / "x.pkl", "pool")
        assert str(error.value).startswith(str(tmp_path / "x.pkl"))
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"PK\x03\x04 cut", npz(mu=mu, sigma=sigma)[:300]])
    def test_a_file_that_is_no_npz_is_named_in_one_line(self, tmp_path, content):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"x\.npz is no \.npz file") as error:
            load_statistics(tmp_path / "x.npz")
        assert "\n" not in str(error.value)

    def test_a_bare_array_is_no_statistics(self, tmp_path):
        np.save(tmp_path / "x.npy", self.mu)
        with pytest.raises(ValueError, match=r"is no \.npz file"):
            load_statistics(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("name", "place", "meant"),
    [
        ("cifar10-32x32", "stats/", "stats/cifar10-32x32.npz"),
        ("stats/cifar10-32x32.npz", "stats/", "stats/cifar10-32x32.npz"),
        ("edm2-img64", "stats/", "stats/edm2-img64.pkl"),
        ("edm-cifar10-32x32-cond-vp.pkl", "checkpoints/", "checkpoints/edm-cifar10-32x32-cond-vp.pkl"),
        ("edm-cifar10-32x32-cond-vp", "stats/", None),
        ("nothing", "checkpoints/", None),
    ],
)
def test_a_published_file_may_be_named_in_short(name, place, meant):
    assert weights.meant(name, place) == meant


def test_every_published_file_is_known_by_its_stem(tmp_path):
    for place in (weights.STATISTICS_FOLDER, weights.CHECKPOINTS):
        for name in weights.known_names(place):
            assert weights.meant(name, place) in weights.REGISTER
