"""From features to numbers: what each metric is taken from, and what its protocol says."""

import hashlib
import os

import numpy as np
import pytest
import torch

from fewstep.bench.metrics import cmmd, frechet_distance, kernel_distance_subsets, manifold_scores
from fewstep.bench.metrics import scoring as measuring
from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.bench.metrics.metric import LAW, LPIPS, OWN, PIXELS
from fewstep.bench.metrics.register import METRICS, defined
from fewstep.datasets.registry import DATASETS
from fewstep.reports import jackknife

WIDTH = 8


def rows(count, seed, shift=0.0):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.fixture
def reference():
    real = rows(1200, 0)
    moments = real.double().mean(0), torch.cov(real.double().T)
    arrays = ("pool", "spatial", "cls", "image")
    return measuring.Reference(
        "real-1200@x", dict.fromkeys(arrays, moments), "some-1200@x", dict.fromkeys(arrays, real)
    )


def measured(name, fake, reference):
    return measuring.measured([name], {METRICS[name].array: fake}, lambda metric: reference, "net@w/resize/round")[name]


def test_every_metric_has_its_extractor_and_every_extractor_a_metric():
    published = {m.features for m in METRICS.values()} - {*OWN, PIXELS, LPIPS, LAW}
    assert published == set(EXTRACTORS)
    assert all(defined([group]) for spec in DATASETS.values() for group in spec.metrics)


@pytest.mark.parametrize("name", ["fid", "fid_clean", "fid_legacy", "sfid", "fd_dinov2"])
def test_frechet_distances_are_to_the_moments_of_all_real_images(name, reference):
    fake = rows(1100, 1, 0.3)
    found = measured(name, fake, reference)
    assert found.value == pytest.approx(frechet_distance(rows(1200, 0), fake), rel=1e-9)
    assert len(found.without) == 20
    assert found.protocol == f"{name}/net@w/resize/round/1100/real-1200@x"


def test_published_moments_are_read_once_until_their_file_changes(tmp_path, monkeypatch):
    read, moments_of = [], measuring.moments_of
    monkeypatch.setattr(measuring, "moments_of", lambda *asked: read.append(asked) or moments_of(*asked))
    file = tmp_path / "mine.npz"
    for offset in (0.0, 1.0):
        np.savez(file, mu=np.full(2048, offset), sigma=np.eye(2048))
        os.utime(file, (offset, offset))
        found = [measuring.published(str(file), "pool") for _ in range(3)]
        assert {float(one.moments["pool"][0][0]) for one in found} == {offset}
    assert len(read) == 2


def test_kernel_metrics_and_manifolds_are_of_the_rows_that_are_kept(reference):
    real, fake = rows(1200, 0), rows(1100, 1, 0.3)
    expected = {
        "kid_subsets": (1000 * kernel_distance_subsets(real, fake)[0], "/subsets=100x1000"),
        "cmmd": (cmmd(real, fake), "/sigma=10"),
        "inception_recall": (manifold_scores(real, fake, 3).recall, "/k=3"),
        "inception_density": (manifold_scores(real, fake, 5).density, "/k=5"),
    }
    for name, (value, suffix) in expected.items():
        found = measured(name, fake, reference)
        assert found.value == pytest.approx(value, rel=1e-9), name
        assert found.protocol.endswith(f"/1100/some-1200@x{suffix}")


def test_a_metric_that_so_few_samples_do_not_have_is_skipped_with_the_reason(reference):
    fake = rows(24, 1)
    assert measured("kid_subsets", fake, reference).skipped == "subsets of 1000 need as many rows, not 1200 and 24"
    assert "manifolds of k = 3" in measured("inception_precision", fake[:2], reference).skipped
    assert "fewer than two" in measured("fid", fake[:2], reference).skipped


def test_samples_that_are_not_finite_are_not_too_few(reference):
    with pytest.raises(ValueError, match="not finite"):
        measured("fid", rows(30, 1).fill_(torch.inf), reference)


def test_a_score_without_a_reference_is_the_mean_over_the_images(reference):
    fake = rows(30, 2)[:, :1]
    found = measured("aesthetic", fake, reference)
    assert found.value == pytest.approx(fake.mean().item(), rel=1e-6)
    assert found.protocol.endswith("/30/none")


class Scorer:
    """What a network that scores images with captions does: here, brightness times the caption's length."""

    def score(self, images, captions):
        return images.float().flatten(1).mean(1) * torch.tensor([float(len(c)) for c in captions])


def test_a_captioned_score_pairs_each_image_with_its_own_caption(monkeypatch):
    class Scoring:
        def load(self, device):
            return Scorer()

        def protocol(self):
            return "clip@w/resize"

    monkeypatch.setitem(EXTRACTORS, "clip-vitb32", Scoring())
    images = torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1)
    captions = ["x" * (i % 7) for i in range(100)]
    reader = measuring.CaptionReader("clip-vitb32", captions, "cpu")
    measuring.stream(measuring.Images8(images.__getitem__, len(images), "round"), [reader], lambda share: None)
    found = reader.measured("clip_score", "round")
    scores = [i * (i % 7) for i in range(100)]
    assert found.value == pytest.approx(sum(scores) / 100)
    rests = [scores[:first] + scores[last:] for first, last in jackknife.bounds(100)]
    assert found.without == pytest.approx([sum(rest) / len(rest) for rest in rests])
    digits = hashlib.sha256("\n".join(captions).encode()).hexdigest()[:8]
    assert found.protocol == f"clip_score/clip@w/resize/round/100/captions@{digits}"
