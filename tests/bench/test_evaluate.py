"""`fewstep evaluate`: images made anywhere, measured as a suite's are."""

import csv
import json
import re
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from fewstep import datasets
from fewstep.bench.commands import evaluate_images as evaluate
from fewstep.bench.commands.evaluate_request import Request
from fewstep.bench.commands.main import main
from fewstep.bench.errors import InputError
from fewstep.bench.metrics import frechet_distance, kernel_distance, manifold_scores
from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.references import folder_task
from fewstep.bench.results import rows as results
from fewstep.bench.run import runner, worker
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.datasets.prepare import prepare
from fewstep.datasets.specs.cifar10 import CLASSES
from fewstep.reports import leaderboard
from fewstep.tests.bench.stand_ins import INCEPTION, images, inception, register

COUNT = 16
ROW = {"method": "mine", "variant": "", "teacher": "elsewhere", "budget": "elsewhere", "nfe": 2, "seed": 0}
INCEPTION_METRICS = ("fid", "sfid", "kid", "inception_score", "inception_precision", "inception_coverage")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torchvision")


@pytest.fixture(scope="module")
def fake():
    """uint8 (N, 3, 32, 32)"""
    return images(COUNT, seed=1)


@pytest.fixture(scope="module")
def forms(tmp_path_factory, fake):
    """The same images as a folder, a zip, a tar, and guided-diffusion's npz."""
    root = tmp_path_factory.mktemp("forms")
    (root / "folder").mkdir()
    pixels = fake.permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(root / "folder" / f"{i:05d}.png")
    files = sorted((root / "folder").iterdir(), reverse=True)
    with zipfile.ZipFile(root / "made.zip", "w") as packed:
        for file in files:
            packed.write(file, f"samples/{file.name}")
    with tarfile.open(root / "made.tar.gz", "w:gz") as packed:
        for file in files:
            packed.add(file, file.name)
    np.savez(root / "made.npz", pixels, np.zeros(COUNT, dtype=np.int64))
    return {name: root / name for name in ("folder", "made.zip", "made.tar.gz", "made.npz")}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar")
    real = images(COUNT, seed=2).permute(0, 2, 3, 1).numpy()
    for i, image in enumerate(real):
        place = folder / "source" / "train" / CLASSES[i % 10]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    prepare("cifar10", folder / "source", folder / "data", lambda file, count: None)
    return folder / "data"


@pytest.fixture(autouse=True)
def _data(data_root, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DATA", str(data_root))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = Store(tmp_path_factory.mktemp("store"))
    made.prepare()
    return made


@pytest.fixture(scope="module")
def weights_folder(tmp_path_factory):
    return inception(tmp_path_factory.mktemp("weights")).parent


class Remembering:
    """A feature network that looks at each image once, however often it is asked: Inception takes half a second."""

    def __init__(self, network, known):
        self.network, self.known = network, known

    def __call__(self, images):
        keys = [image.numpy().tobytes() for image in images]
        new = list({key: row for row, key in enumerate(keys) if key not in self.known}.values())
        if new:
            outputs = self.network(images[new])
            for i, row in enumerate(new):
                self.known[keys[row]] = {name: output[i] for name, output in outputs.items()}
        return {name: torch.stack([self.known[key][name] for key in keys]) for name in self.known[keys[0]]}


@pytest.fixture(scope="module")
def seen_by_inception():
    """bytes of an image -> its features"""
    return {}


@pytest.fixture
def weights(weights_folder, monkeypatch, seen_by_inception):
    register(monkeypatch, weights_folder, INCEPTION)
    extractor = type(EXTRACTORS["inception-tf1"])
    load_network = extractor.load
    monkeypatch.setattr(
        extractor, "load", lambda self, device="cpu": Remembering(load_network(self, device), seen_by_inception)
    )


def measure(store, source, *metrics, **more):
    """{metric: row} of the images, tasks done in this process."""

    def run(tasks):
        for task in tasks:
            assert worker.execute(task.to_json(), store)[0] == "done"
        return runner.look_up(tasks, store)

    request = Request(source, more.pop("dataset", "cifar10"), metrics, ROW, device="cpu", **more)
    rows, blocks = evaluate.evaluate(request, run)
    assert {row["metric"] for row in blocks} <= {row["metric"] for row in rows}
    return {row["metric"]: row for row in rows}


def test_folder_zip_tar_and_npz_have_the_same_values(store, forms):
    found = [measure(store, source, "fd_cifar10", "recall", "class_coverage") for source in forms.values()]
    for rows in found[1:]:
        assert rows == found[0]
    assert float(found[0]["fd_cifar10"]["value"]) > 0
    assert float(found[0]["fd_cifar10"]["standard_error"]) > 0


@pytest.fixture
def inception_features(weights, fake):
    """(real, fake) outputs of the stand-in Inception."""
    real = datasets.get("cifar10").images
    network = EXTRACTORS["inception-tf1"].load()
    return network(real), network(fake)


def test_inceptions_metrics_are_those_of_its_features(store, forms, inception_features):
    real, fake = inception_features
    rows = measure(store, forms["folder"], *INCEPTION_METRICS)
    value = {name: float(row["value"]) for name, row in rows.items()}
    # The moments are of full rank neither here nor there: as accurate as covariances allow.
    assert value["fid"] == pytest.approx(frechet_distance(real["pool"], fake["pool"]), rel=1e-5)
    assert value["sfid"] == pytest.approx(frechet_distance(real["spatial"], fake["spatial"]), rel=1e-5)
    assert value["kid"] == pytest.approx(1000 * kernel_distance(real["pool"], fake["pool"]), rel=1e-6)
    expected = {k: manifold_scores(real["pool"], fake["pool"], k) for k in (3, 5)}
    assert value["inception_precision"] == expected[3].precision
    assert value["inception_coverage"] == expected[5].coverage


class Stack(torch.utils.data.Dataset):
    """What torch-fidelity takes for images."""

    def __init__(self, stacked):
        self.stacked = stacked

    def __len__(self):
        return len(self.stacked)

    def __getitem__(self, i):
        return self.stacked[i]


@pytest.mark.parametrize("fid", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["scores", "fid"])
def test_torch_fidelity_agrees_from_the_images_on(fid, store, forms, weights, weights_folder, fake):
    fidelity = pytest.importorskip("torch_fidelity")
    theirs = fidelity.calculate_metrics(
        input1=Stack(fake),
        input2=Stack(datasets.get("cifar10").images),
        isc=not fid,
        fid=fid,
        kid=not fid,
        kid_subsets=1,
        kid_subset_size=COUNT,
        feature_extractor_weights_path=str(weights_folder / INCEPTION),
        cuda=False,
        cache=False,
        verbose=False,
    )
    ours = {name: float(row["value"]) for name, row in measure(store, forms["made.npz"], *INCEPTION_METRICS).items()}
    if fid:
        assert ours["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
        return
    # Theirs adds up kernels in float32, of which a multiple of 2^-14 is left.
    assert ours["kid"] == pytest.approx(1000 * theirs["kernel_inception_distance_mean"], abs=1000 * 2**-15)
    assert ours["inception_score"] == pytest.approx(theirs["inception_score_mean"], rel=1e-5)


def test_published_statistics_take_the_place_of_the_images(store, forms, inception_features, tmp_path):
    real, _ = inception_features
    pool = real["pool"].double()
    np.savez(tmp_path / "stats.npz", mu=pool.mean(0).numpy(), sigma=np.cov(pool.numpy(), rowvar=False))
    own = measure(store, forms["folder"], "fid")["fid"]
    given = measure(store, forms["folder"], "fid", references={"fid": str(tmp_path / "stats.npz")})["fid"]
    assert float(given["value"]) == pytest.approx(float(own["value"]), rel=1e-5)
    assert "/stats@" in given["protocol"]
    assert f"/cifar10-{COUNT}@" in own["protocol"]


def test_a_folder_of_real_images_may_be_compared_with(store, forms, weights, data_root, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    for i, image in enumerate(datasets.get("cifar10").images.permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image).save(real / f"{i:04d}.png")
    of_data_set = measure(store, forms["folder"], "fid", "kid", "inception_recall")
    found = measure(store, forms["folder"], "fid", "kid", "inception_recall", dataset=str(real))
    for name, row in found.items():
        assert float(row["value"]) == pytest.approx(float(of_data_set[name]["value"]), rel=1e-9)
    assert f"/real-{COUNT}@" in found["fid"]["protocol"]
    Image.new("RGB", (32, 32)).save(real / "0000.png")
    changed = measure(store, forms["folder"], "fid", dataset=str(real))["fid"]
    assert changed["protocol"] != found["fid"]["protocol"]
    assert changed["value"] != found["fid"]["value"]


def test_what_is_not_read_of_the_real_images_is_said_once(store, forms, weights, tmp_path, capsys):
    shutil.copytree(forms["folder"], real := tmp_path / "real")
    (real / "more.heic").write_bytes(b"x")
    measure(store, forms["folder"], "fid", "kid", dataset=str(real))
    assert capsys.readouterr().err == f"fewstep: {real}: 1 file of the form .heic is not read; convert images to PNG\n"


def test_without_a_choice_what_few_images_cannot_have_is_skipped_and_the_rest_is_there(store, forms, weights):
    rows = measure(store, forms["made.npz"])
    assert {"fid", "kid", "sfid", "fd_cifar10"} <= {name for name, row in rows.items() if row["status"] == "done"}
    assert rows["kid_subsets"]["status"] == f"skipped: subsets of 1000 need as many rows, not {COUNT} and {COUNT}"
    assert rows["kid_subsets"]["value"] == ""


@pytest.mark.parametrize(
    ("metric", "dimensions", "message"),
    [
        ("fid", 3, "moments of 3 dimensions, and these features have 2048"),
        ("sfid", 2048, "holds no moments of spatial features (mu_s and sigma_s)"),
    ],
)
def test_statistics_of_something_else_are_refused_before_anything_runs(
    forms, tmp_path, weights, metric, dimensions, message
):
    np.savez(tmp_path / "stats.npz", mu=np.zeros(dimensions), sigma=np.eye(dimensions))
    words = ["--dataset", "cifar10", "--metrics", metric, "--reference", f"{metric}={tmp_path / 'stats.npz'}"]
    result = call(forms["folder"], *words, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        f"{{name: s, datasets: cifar10, teachers: {{name: exact}}, budgets: {{evaluations: 1}}, nfe: 2, samples: 24,"
        f" metrics: [{metric}], references: {{{metric}: {tmp_path / 'stats.npz'}}}, methods: [{{name: euler}}]}}"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        make_plan(load(str(suite)))


def test_real_images_that_change_before_they_are_read_are_refused(store, forms, weights):
    task = folder_task(forms["made.npz"], "another hash", COUNT, "inception-tf1", "cpu")
    state, status = worker.execute(task.to_json(), store)
    assert state == "failed"
    assert "made.npz has changed since this was asked" in status.reason


def test_published_statistics_need_no_data_set(store, forms, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_DATA", str(tmp_path))
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "stats.npz", mu=rng.normal(size=2048), sigma=np.eye(2048))
    row = measure(store, forms["made.npz"], "fid", references={"fid": str(tmp_path / "stats.npz")})["fid"]
    assert float(row["value"]) > 0


def test_a_protocol_names_weights_resize_rounding_counts_and_neighbours(store, forms, weights):
    rows = measure(store, forms["folder"], *INCEPTION_METRICS, rounding="truncate")
    digits = EXTRACTORS["inception-tf1"].protocol().split("@")[1].split("/")[0]
    expected = f"inception_precision/inception@{digits}/tf1/truncate/{COUNT}/cifar10-{COUNT}of{COUNT}@"
    assert rows["inception_precision"]["protocol"].startswith(expected)
    assert rows["inception_precision"]["protocol"].endswith("/k=3")
    assert rows["inception_coverage"]["protocol"].endswith("/k=5")


def test_a_suite_scores_fid_beside_its_own_features_and_skips_what_it_lacks(store, weights, tmp_path):
    """`fid` has its weights here, `fd_dinov2` has not; the samples are drawn and scored once."""
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "{name: s, datasets: cifar10, teachers: {name: exact, bandwidth: 0.1}, budgets: {evaluations: 1}, nfe: 2,"
        f" samples: {COUNT}, metrics: [fid, fd_cifar10, fd_dinov2], rounding: truncate, device: cpu,"
        " methods: [{name: euler}]}"
    )
    plan = make_plan(load(str(suite)))
    for task in plan.tasks():
        assert worker.execute(task.to_json(), store)[0] == "done"
    rows = {row["metric"]: row for row in results.rows(plan, runner.look_up(plan.tasks(), store))}
    assert rows["fid"]["status"] == rows["fd_cifar10"]["status"] == "done"
    assert float(rows["fid"]["value"]) > 0
    assert f"/tf1/truncate/{COUNT}/" in rows["fid"]["protocol"]
    assert rows["fd_dinov2"]["status"].startswith("skipped: missing ")
    assert "dinov2_vitl14_pretrain.pth, get it by `curl" in rows["fd_dinov2"]["status"]


def test_an_evaluated_row_is_ranked_with_a_suites_by_the_same_protocol(tmp_path):
    """Of two rows with one protocol the better has rank 1; by another protocol there is another table."""
    base = dict.fromkeys(results.COLUMNS, "") | {"dataset": "cifar10", "nfe": 2, "seed": 0, "metric": "fid"}
    base |= {"samples": 50_000, "status": "done", "budget": "0", "teacher": "edm", "protocol": "p"}
    lines = {"suite": [("euler", 9.0, "p")], "evaluated": [("mine", 3.0, "p"), ("other", 1.0, "q")]}
    for name, rows in lines.items():
        (tmp_path / name).mkdir()
        table = [base | {"suite": name, "method": m, "value": repr(v), "protocol": p, "cell": m} for m, v, p in rows]
        (tmp_path / name / "results.csv").write_text(results.to_csv(table))
    board = leaderboard.read(tmp_path / "suite", tmp_path / "evaluated")
    assert {entry.method: entry.ranks["fid"] for entry in board.entries} == {"mine": 1, "euler": 2, "other": 1}
    result = CliRunner().invoke(main, ["leaderboard", str(tmp_path / "suite"), str(tmp_path / "evaluated")])
    assert result.output.count("fid, lower is better") == 2


def call(*words):
    return CliRunner().invoke(main, ["evaluate", *map(str, words)])


def test_the_command_writes_a_record_and_prints_its_table(forms, tmp_path):
    result = call(
        forms["folder"], "--dataset", "cifar10", "--metrics", "fd_cifar10,precision,fd_dinov2", "--method", "mine",
        "--nfe", 2, "--device", "cpu", "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "fd_dinov2: skipped: missing " in result.stderr
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    assert (rows["precision"]["method"], rows["precision"]["nfe"], rows["precision"]["samples"]) == (
        "mine",
        "2",
        str(COUNT),
    )
    assert rows["fd_cifar10"]["status"] == "done"
    assert f"{COUNT} samples are few for FD (CIFAR-10): 5000 are asked for" in " ".join(result.output.split())
    facts = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert list(facts) == ["fd_cifar10", "precision", "fd_dinov2"]
    assert facts["precision"] == {
        "display": "precision",
        "summary": "share of samples inside the manifold of real images, k = 3, same features",
        "higher_is_better": True,
        "enough": 1000,
        "log_scale": False,
        "pair": "recall",
    }
    again = CliRunner().invoke(main, ["leaderboard", str(tmp_path / "out"), "--metric", "precision"])
    assert "mine" in again.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "cifar1"], "unknown dataset 'cifar1'; did you mean 'cifar10'?"),
        (["--dataset", "cifar10", "--metrics", "fidd"], "unknown metric 'fidd'; did you mean 'fid'?"),
        (
            ["--dataset", "cifar10", "--metrics", "rmse"],
            "rmse compares with the teacher's solutions from the same noise",
        ),
        (["--dataset", "cifar10", "--metrics", "fd_digits"], "fd_digits is not defined on cifar10"),
        (["--dataset", "cifar10", "--metrics", "clip_score"], "clip_score needs --captions"),
        (["--dataset", "cifar10", "--reference", "fid"], "--reference fid: expected METRIC=FILE"),
        (["--dataset", "cifar10", "--reference", "fid=nowhere.npz"], "no file, and no known statistics of that name"),
        (["--dataset", "cifar10", "--reference", "kid=cifar10-32x32"], "kid does not compare with published moments"),
        (["--dataset", "mixture-2d"], "mixture-2d has no metric that images alone can have"),
        (["--dataset", "digits"], "images of shape (3, 32, 32), and fd_digits, precision"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(forms, tmp_path, words, message):
    result = call(forms["folder"], *words, "--device", "cpu", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_known_statistics_that_are_not_here_are_missing_at_once(forms, tmp_path, weights):
    result = call(
        forms["folder"], "--dataset", "cifar10", "--metrics", "fid", "--reference", "fid=cifar10-32x32",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "stats/cifar10-32x32.npz, get it by `curl" in result.stderr


def test_broken_images_are_named(forms, tmp_path):
    shutil.copytree(forms["folder"], tmp_path / "made")
    file = tmp_path / "made" / "00007.png"
    file.write_bytes(file.read_bytes()[:100])
    result = call(tmp_path / "made", "--dataset", "cifar10", "--metrics", "precision", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "00007.png: not a whole image" in result.stderr
    Image.new("RGB", (16, 32)).save(file)
    result = call(tmp_path / "made", "--dataset", "cifar10", "--metrics", "precision", "--out", tmp_path / "out")
    assert "00007.png: 16x32 pixels, not 32x32" in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"arr_1": np.zeros(3)}, "no images `arr_0` in it"),
        ({"arr_0": np.zeros((2, 32, 32, 3))}, "arr_0 is float64 (2, 32, 32, 3), not uint8 images"),
        ({"arr_0": np.array([{}], dtype=object)}, "no images `arr_0` in it: Object arrays cannot be loaded"),
    ],
)
def test_an_npz_of_something_else_is_refused(tmp_path, content, message):
    np.savez(tmp_path / "made.npz", **content)
    result = call(tmp_path / "made.npz", "--dataset", "cifar10", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
