"""Memory does not grow with the number of samples: a process of its own says how much it held at most."""

import os
import subprocess
import sys

import pytest

from fewstep.tests.bench import large_samples

LIMIT = 1_500
"""MB, of which importing torch and Lightning takes about 800."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_sampling_and_scoring_large_images_stays_below_a_limit(tmp_path, count):
    """400 of 3x256x256 are kept in float32, 315 MB; 20,000, which would be 15.7 GB, in 8 bits."""
    site = tmp_path / "site"
    site.mkdir()
    large_samples.install(site)
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        [sys.executable, "-m", "fewstep.tests.bench.large_samples", str(tmp_path), str(count)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    peaks = dict(line.split() for line in result.stdout.splitlines())
    assert list(peaks)[-1] == "score"
    assert float(peaks["score"]) < LIMIT, peaks
