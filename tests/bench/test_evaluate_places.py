"""`fewstep evaluate` loses nobody's results, and a name is not a path."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_digits

from fewstep.bench.cli import main


@pytest.fixture
def samples(tmp_path, monkeypatch):
    """Two folders of digits, `a/cfg1.5` and `b/cfg1.5`, and one called `a/cfg1.7`."""
    monkeypatch.chdir(tmp_path)
    images = (load_digits().images * 15.9375).astype(np.uint8)
    for start, folder in enumerate(("a/cfg1.5", "b/cfg1.5", "a/cfg1.7")):
        Path(folder).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(images[20 * start + i]).save(Path(folder, f"{i:02d}.png"))
    return tmp_path


def evaluate(*arguments):
    return CliRunner().invoke(
        main, ["evaluate", *arguments, "--dataset", "digits", "--metrics", "fd_digits", "--device", "cpu"]
    )


def test_results_of_other_images_are_not_replaced_unasked(samples):
    assert evaluate("a/cfg1.5").exit_code == 0
    results = Path("runs/evaluated/cfg1.5/results.csv")
    first = results.read_bytes()
    refused = evaluate("b/cfg1.5")
    assert refused.exit_code == 2
    assert f"holds results of {samples / 'a/cfg1.5'}; give another --out or --method, or --overwrite" in refused.output
    assert results.read_bytes() == first
    assert evaluate("a/cfg1.5").exit_code == 0
    assert evaluate("b/cfg1.5", "--method", "b").exit_code == 0
    assert evaluate("b/cfg1.5", "--overwrite").exit_code == 0
    assert results.read_bytes() != first


def test_a_folder_keeps_its_whole_name(samples):
    assert evaluate("a/cfg1.7").exit_code == 0
    assert "cfg1.7" in Path("runs/evaluated/cfg1.7/results.csv").read_text()


@pytest.mark.parametrize(
    "name", ["../../escape", "/some/where", "a/b", "a\\b", "..", ".", "", "x" * 300, "a\nb", "C:x"]
)
def test_a_method_is_a_name_and_no_path(samples, name):
    refused = evaluate("a/cfg1.5", "--method", name)
    assert refused.exit_code == 2
    assert "not a path" in refused.output
    assert refused.output.count("\n") == 1
    assert sorted(path.name for path in samples.iterdir()) == ["a", "b"]


def test_a_seed_that_no_table_can_hold_is_refused(samples):
    refused = evaluate("a/cfg1.5", "--seed", "18446744073709551616")
    assert refused.exit_code == 2
    assert "9223372036854775807" in refused.output
    assert not Path("runs").exists()
