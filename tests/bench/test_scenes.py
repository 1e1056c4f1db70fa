"""Text to image through the whole house on the data set `scenes`: captions, guidance, scorer, board."""

import json

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from fewstep.bench.commands.main import main
from fewstep.bench.errors import InputError
from fewstep.bench.metrics.metric import Comparison
from fewstep.bench.metrics.register import METRICS, defined
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.problem import problems
from fewstep.bench.run import worker
from fewstep.bench.stages import sample, teacher
from fewstep.bench.stages.scorer import of_scorer
from fewstep.bench.store import Store
from fewstep.bench.suite import loading, schema
from fewstep.datasets import frozen, scenes, scorers
from fewstep.datasets.captions import captions
from fewstep.datasets.frozen.register import NETWORKS
from fewstep.datasets.registry import DATASETS
from fewstep.methods import solvers
from fewstep.reports import jackknife

TINY = {
    "name": "pretrain",
    "network": {"name": "unet", "channels": 8, "multipliers": [1]},
    "images": 128,
    "label_dropout": 0.1,
}
SUITE = {
    "name": "small",
    "datasets": "scenes",
    "teachers": [{**TINY, "guidance": 1, "label": "w = 1"}, {**TINY, "guidance": 2, "label": "w = 2"}],
    "budgets": {"evaluations": 300},
    "seeds": [0, 1],
    "nfe": 1,
    "samples": 402,
    "metrics": ["rmse"],
    "truth": {"samples": 2, "tolerance": 0.1},
    "methods": [{"name": "euler"}, {"name": "diff-instruct", "on": "w = 2", "options": {"batch": 16}}],
    "device": "cpu",
}


def suite_of(**changes) -> schema.Suite:
    return schema.Suite.model_validate({**SUITE, **changes})


@pytest.fixture
def write(tmp_path):
    """write(**changes) -> the file of a suite."""

    def write(**changes) -> str:
        file = tmp_path / "suite.yaml"
        file.write_text(yaml.safe_dump({**SUITE, **changes}, sort_keys=False))
        return str(file)

    return write


def made(suite, folder, kinds):
    """The artifacts of the suite's tasks of these kinds, each with its task; students of seed 0 alone."""
    store = Store(folder)
    store.prepare()
    tasks = [task for task in make_plan(suite).tasks() if task.kind in kinds]
    tasks = [t for t in tasks if getattr(t.params, "method", "") != "diff-instruct" or t.params.seed == 0]
    for task in tasks:
        assert worker.execute(task.to_json(), store) == ("done", None)
    return [(task, store.need(task.name)) for task in tasks]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Teacher, students and samples of a suite whose teacher is hardly trained."""
    return made(suite_of(), tmp_path_factory.mktemp("store"), ("teacher", "train", "sample"))


def of_kind(found, kind):
    return [(task, artifact) for task, artifact in found if task.kind == kind]


def test_one_teacher_serves_all_scales_and_a_row_runs_on_the_teachers_that_it_names(small):
    assert len(of_kind(small, "teacher")) == 1
    cells = [(cell.method, cell.teacher) for cell in make_plan(suite_of()).cells if cell.seed == 0]
    assert sorted(cells) == [("diff-instruct", "w = 2"), ("euler", "w = 1"), ("euler", "w = 2")]


def test_the_teacher_is_loaded_without_its_text_encoder(small):
    ((_, artifact),) = of_kind(small, "teacher")
    loaded = teacher.load({"teacher": artifact}, 2.0)
    assert any("encoder" in name for name in load_file(artifact.file(teacher.WEIGHTS)))
    assert not any("encoder" in name for name in loaded.state_dict())
    assert artifact.result["parameters"] == sum(p.numel() for p in loaded.parameters())
    assert loaded.class_counts is None
    assert (loaded.prompts.null, len(loaded.prompts.training)) == (400, 400)


def test_sample_i_has_caption_i_whatever_the_method_and_seed(small):
    """Two captions of one meaning, on the same noise: the sample changes with the caption's row alone."""
    ((_, artifact),) = of_kind(small, "teacher")
    loaded = teacher.load({"teacher": artifact}, 2.0)
    for seed in (0, 1):
        rows = sample.start_labels(loaded, seed, range(402))
        assert rows.tolist() == [*range(400), 0, 1]
    samples = of_kind(small, "sample")
    assert len(samples) == 5
    euler = next(a for t, a in samples if t.params.method == "euler" and t.params.seed == 1)
    scale = euler.manifest["params"]["guidance"]
    start, rows = sample.start_noise(1, [401], (1, 16, 16)), torch.tensor([1])
    denoiser = teacher.load({"teacher": artifact}, scale)
    expected = solvers.get("euler").sample(denoiser, start, nfe=1, condition=rows)
    torch.testing.assert_close(sample.load(euler)[401:], expected, rtol=0, atol=1e-5)


def test_guided_solvers_take_two_forwards_and_students_one(small):
    forwards = {t.params.method: a.result["forwards"] for t, a in of_kind(small, "sample") if t.params.seed == 0}
    assert forwards == {"euler": 2, "diff-instruct": 1}


def test_a_student_is_no_larger_for_the_captions(small):
    for _, artifact in of_kind(small, "train"):
        assert not any(
            "encoder" in name or "labels" in name for name in load_file(artifact.file("student.safetensors"))
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ["clip_score"]}, "clip_score is not defined on scenes, which has fd_scenes, clip_scenes"),
        ({"datasets": "digits", "metrics": ["clip_scenes"]}, "clip_scenes is not defined on digits"),
        ({"methods": [{"name": "euler", "on": "w = 3"}]}, "the suite has no teacher 'w = 3'; did you mean"),
        (
            {"datasets": "digits", "teachers": {"name": "shipped", "file": "digits-unet-128k", "guidance": 2}},
            "digits-unet-128k knows no labels and no captions to be guided by; leave it out",
        ),
        ({"teachers": {**TINY, "label_dropout": None, "guidance": 2}}, "guidance needs a teacher that knows labels"),
    ],
)
def test_wrong_uses_are_refused_in_one_line(write, changes, message):
    with pytest.raises(InputError, match=message):
        loading.load(write(**changes))


def test_only_scenes_have_the_metrics_of_their_scorer():
    assert defined(DATASETS["scenes"].metrics, "fd_scenes")[:3] == ["fd_scenes", "clip_scenes", "caption_recall"]
    assert "clip_scenes" not in defined(DATASETS["digits"].metrics, DATASETS["digits"].quality)
    for name in ("clip_scenes", "caption_recall"):
        assert METRICS[name].captioned
        assert METRICS[name].group == "scorer"
        shown = CliRunner().invoke(main, ["show", name])
        assert shown.exit_code == 0
        assert "scorer" in shown.output


def test_a_teacher_that_reads_no_captions_has_a_distance_and_no_score():
    metrics = ["fd_scenes", "clip_scenes", "caption_recall"]
    deaf = {**TINY, "label_dropout": None, "label": "deaf"}
    plain, told = problems(suite_of(teachers=[deaf, TINY], metrics=metrics, methods=[{"name": "euler"}]))
    assert list(plain.undefined) == ["clip_scenes", "caption_recall"]
    assert told.undefined == {}


def test_the_scorer_reads_the_captions_of_a_file_and_refuses_others(tmp_path):
    np.savez(tmp_path / "made.npz", np.zeros((2, 16, 16, 1), np.uint8))
    (tmp_path / "captions.txt").write_text(f"{scenes.PROMPTS[7]}\na cat\n")
    words = [
        "evaluate",
        str(tmp_path / "made.npz"),
        "--dataset",
        "scenes",
        "--captions",
        str(tmp_path / "captions.txt"),
    ]
    refused = CliRunner().invoke(main, [*words, "--metrics", "clip_scenes", "--device", "cpu"])
    assert refused.exit_code == 2
    assert "line 2 is no caption of scenes, and clip_scenes need one; see `fewstep captions" in refused.stderr


def test_scores_of_single_samples_give_a_standard_error():
    """As rmse has it: with one value per sample the jackknife over blocks is that of the mean."""
    values = 100 * torch.rand(800, generator=torch.Generator().manual_seed(0))
    found = METRICS["clip_scenes"].compute(Comparison(values))
    assert found.value == pytest.approx(float(values.mean()), rel=1e-6)
    assert jackknife.standard_error(found.without) == pytest.approx(float(values.std()) / 800**0.5, rel=0.6)


def test_paraphrases_are_the_same_answer():
    """The nearest caption may be the other of its meaning, and none else."""
    scorer = scorers.scenes_scorer()
    rows = torch.arange(400)
    by_meaning = [[j for j in range(400) if scenes.MEANINGS[j] == meaning] for meaning in range(200)]
    twin = torch.tensor([next(j for j in by_meaning[scenes.MEANINGS[i]] if j != i) for i in range(400)])
    assert scorer.right(torch.eye(400), rows).all()
    assert scorer.right(torch.eye(400)[twin], rows).all()
    assert scorer.right(torch.eye(400), rows.roll(1)).double().mean() < 0.02


SCALES = (0.0, 1.0, 2.0)


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    """(method, scale, NFE) -> the values of the shipped teacher's samples, one for each caption, seed 0."""
    store = tmp_path_factory.mktemp("shipped")
    teachers = [{"name": "shipped", "file": "scenes-unet-128k", "guidance": w, "label": f"w = {w}"} for w in SCALES]
    methods = [{"name": "dpmpp-2m", "nfe": 8}, {"name": "euler", "nfe": [1, 2, 4, 8], "on": "w = 2.0"}]
    suite = suite_of(
        teachers=teachers, methods=methods, seeds=[0], samples=400,
        metrics=["fd_scenes", "clip_scenes", "caption_recall"],
    )  # fmt: skip
    found = made(suite, store, ("teacher", "extractor", "sample", "score"))
    sampled = {artifact.folder.name: task.params for task, artifact in of_kind(found, "sample")}
    values = {}
    for _, artifact in of_kind(found, "score"):
        params = sampled[artifact.manifest["inputs"]["sample"]]
        values[params.method, params.guidance, params.nfe] = artifact.result["metrics"]
    return values


@pytest.mark.slow
def test_guidance_raises_the_score(values):
    score = {w: values["dpmpp-2m", w, 8]["clip_scenes"]["value"] for w in SCALES}
    assert score[2.0] > score[1.0] + 5
    assert score[1.0] + 5 > score[0.0] + 30


@pytest.mark.slow
def test_more_steps_of_euler_come_nearer_to_the_pictures(values):
    distances = [values["euler", 2.0, nfe]["fd_scenes"]["value"] for nfe in (1, 2, 4, 8)]
    assert distances == sorted(distances, reverse=True)
    assert len(set(distances)) == 4


def test_the_scorer_reads_pictures_of_unseen_digits_and_knows_wrong_captions(tmp_path):
    ((_, artifact),) = made(suite_of(metrics=["clip_scenes"]), tmp_path, ("extractor",))
    x0 = scenes.held_out().samples(torch.arange(800))
    assert artifact.result["held_out_accuracy"] == pytest.approx(0.915, abs=0.005)
    names = ["clip_scenes", "caption_recall", "fd_scenes"]
    texts = captions("scenes", range(len(x0)))
    real = of_scorer(x0, texts, artifact, names, "float")
    assert real["clip_scenes"].value == pytest.approx(90.3, abs=1)
    assert real["caption_recall"].value == pytest.approx(artifact.result["held_out_accuracy"], abs=0.03)
    shuffled = x0[torch.randperm(len(x0), generator=torch.Generator().manual_seed(0))]
    wrong = of_scorer(shuffled, texts, artifact, names, "float")
    assert abs(wrong["clip_scenes"].value) < 10
    assert wrong["caption_recall"].value < 0.02
    assert wrong["fd_scenes"].value == pytest.approx(real["fd_scenes"].value, rel=1e-3)
    assert real["clip_scenes"].protocol.startswith("clip_scenes/scenes-scorer@")
    assert "captions@" in real["clip_scenes"].protocol


def test_the_headers_say_how_the_networks_were_trained():
    (trained,) = loading.load("scenes-from-scratch").teachers
    facts = frozen.facts("scenes-unet-128k")
    assert json.loads(facts["options"]) == json.loads(trained.model_dump_json())
    assert NETWORKS["scenes-unet-128k"].conditional
    assert json.loads(frozen.facts("scenes-scorer")["options"]) == scorers.SCENES.options()
