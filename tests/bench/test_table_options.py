"""Options that the papers' tables ask of methods: what no teacher can serve is refused when the suite is loaded."""

import pytest
import yaml

from fewstep.bench.errors import InputError
from fewstep.bench.suite import loading as suites

RESPACED = {"variance": "learned", "grid": {"spacing": "respaced"}}
EDM = {"name": "checkpoint", "file": "edm-cifar10-32x32-uncond-vp"}


def load(tmp_path, teacher, dataset, method, **options):
    file = tmp_path / "suite.yaml"
    content = {
        "name": "test",
        "datasets": dataset,
        "teachers": teacher,
        "budgets": {"evaluations": 1000},
        "nfe": [2, 6],
        "metrics": ["rmse"],
        "methods": [{"name": method, "options": options}],
    }
    file.write_text(yaml.safe_dump(content))
    return suites.load(str(file)).methods[0]


@pytest.mark.parametrize(
    ("teacher", "method", "options", "message"),
    [
        (EDM, "ddpm", {"variance": "learned"}, "give grid.spacing, such as respaced"),
        ({**EDM, "file": "ema_cifar10"}, "ddpm", RESPACED, "ema_cifar10 has not learned a variance"),
        (EDM, "consistency", {"levels": [200, 1.3824]}, "knows noise levels from 80 to 0.002"),
        (EDM, "consistency", {"levels": [1, 80]}, "levels: must be noise levels from 1e+06 to 1e-08, each below"),
        (EDM, "consistency", {"levels": "spred"}, "levels: must be spread, searched, or noise levels"),
        (EDM, "ddim", {"eta": 2}, "eta: must be a number from 0 to 1, or sigma-hat, not 2"),
        (EDM, "unipc-3", {"orders": [1, 3]}, "orders: step 2 can have orders 1 to 2, not 3"),
        (EDM, "bespoke", {"order": 4}, "order: must be 1, 2 or 3, not 4"),
        (
            EDM,
            "deis-tab3",
            {"path": "vp-linear-fitted", "quadrature": "diff-sampler"},
            "quadrature diff-sampler on vp-linear-fitted has no value at clean data",
        ),
        (
            EDM,
            "deis-tab3",
            {"path": "vp-linear-fitted", "grid": {"end": "min", "noise_max": 0.001}},
            "grid.noise_max: the grid would go from noise level 0.001 to 0.002",
        ),
    ],
)
def test_what_a_teacher_cannot_serve_is_refused_in_one_line(tmp_path, teacher, method, options, message):
    with pytest.raises(InputError) as error:
        load(tmp_path, teacher, "cifar10", method, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("method", "options", "label", "refused"),
    [
        ("consistency", {"levels": [80, 1.3824]}, "levels=(80.0, 1.3824)", 6),
        ("unipc-3", {"orders": [1, 2, 3, 4, 5, 6]}, "grid=karras-7 zero orders=(1, 2, 3, 4, 5, 6)", 2),
        ("ddim", {"eta": "sigma-hat"}, "grid=karras-7 zero eta=sigma-hat", None),
        ("dpmpp-2m", {"corrector": "unic-bh2"}, "grid=karras-7 zero corrector=unic-bh2", None),
        ("deis-tab3", {"path": "vp-linear-fitted"}, "grid=karras-7 zero path=vp-linear-fitted", None),
        ("bespoke", {"order": 3}, "order=3", 2),
        ("d-ode", {"solver": "unipc-2"}, "grid=karras-7 zero solver=unipc-2", None),
    ],
)
def test_what_it_can_is_a_row_with_its_nfes(tmp_path, method, options, label, refused):
    row = load(tmp_path, EDM, "cifar10", method, **options)
    assert row.label() == label
    assert [nfe for nfe in (2, 6) if row.refusal(nfe)] == ([] if refused is None else [refused])


def test_a_learned_variance_is_a_row_of_openais_networks(tmp_path):
    row = load(tmp_path, {"name": "checkpoint", "file": "64x64_diffusion"}, "imagenet64-adm", "ddpm", **RESPACED)
    assert row.label() == "grid=respaced zero variance=learned"
