"""Text-to-image suites rehearsed: small pipelines and scorers in the published files' forms, and what one lacks."""

import csv
import dataclasses
import re

import pytest
import yaml

from fewstep.bench.commands.findings import findings, to_fetch
from fewstep.bench.plan import rehearsed_captions
from fewstep.bench.plan.problem import problems
from fewstep.bench.results.published import beside
from fewstep.bench.suite.checks import RULES
from fewstep.bench.suite.loading import load
from fewstep.methods import known_pipelines
from fewstep.methods.teachers.pipelines import facts
from fewstep.reports.published.against import lines
from fewstep.reports.published.judgement import Verdict

from .in_process import call, in_process, is_one_line  # noqa: F401
from .test_problems import nothing_here  # noqa: F401

SUITES = ("coco-t2i", "papers/boot-t2i", "papers/sim-t2i")
CAPTIONS = "transformers and sentencepiece are not installed: pip install 'fewstep[captions]'"


@pytest.fixture
def captions():
    for package in ("diffusers", "transformers", "sentencepiece", "open_clip"):
        pytest.importorskip(package, reason=CAPTIONS)


def rows(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def test_without_the_packages_a_rehearsal_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsed_captions, "find_spec", lambda name: None if name == "transformers" else True)
    result = call("run", "papers/boot-t2i", "--smoke", "--out", tmp_path / "out")
    assert is_one_line(result)
    assert "needs transformers, which is not installed: pip install 'fewstep[captions]'" in result.stderr
    assert not (tmp_path / "out" / "results.csv").exists()


@pytest.mark.parametrize("name", SUITES)
def test_doctor_says_what_to_fetch_with_sizes_and_licences(nothing_here, name):  # noqa: F811
    found = {what: (state, advice) for what, state, advice in findings(load(name))}
    pipelines = {what: said for what, said in found.items() if what.startswith(("pipeline ", "weights "))}
    assert pipelines
    for state, advice in pipelines.values():
        assert state == "missing"
        assert re.search(r"by `.*`; about [\d.]+ GB .*; licence: \w.*; both from ", advice)
    assert (
        "captions_val2017" in found["dataset coco2017"][1] or "annotations_trainval2017" in found["dataset coco2017"][1]
    )
    total = to_fetch([(what, *said) for what, said in found.items()])
    assert re.fullmatch(r"to fetch: \d+ pipelines? and \d+ files, [\d.e+]+ GB", total)


def test_doctor_finds_a_folder_that_is_no_pipeline(nothing_here, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path))
    (tmp_path / "pipelines" / "stable-diffusion-2-1-base").mkdir(parents=True)
    found = {what: (state, advice) for what, state, advice in findings(load("papers/boot-t2i", rules=RULES))}
    state, advice = found["pipeline stable-diffusion-2-1-base"]
    assert state == "wrong content"
    assert "model_index.json: no such file" in advice


@pytest.mark.parametrize("name", SUITES)
def test_every_name_of_a_suite_is_in_the_table(name):
    from fewstep.bench.suite.pipelines import named

    for given in named(load(name)):
        assert known_pipelines.known(given) is not None or given in known_pipelines.prompts(), given


def test_each_problem_has_samples_of_its_own():
    found = {(problem.dataset, problem.samples) for problem in problems(load("coco-t2i"))}
    assert found == {("coco2014", 30_000), ("coco2017", 5_000)}
    assert {problem.samples for problem in problems(load("papers/sim-t2i"))} == {5_000}


def test_published_numbers_stand_beside_rows_of_their_guidance_scale():
    """DMD's tables have equal rows at w = 3 and 8."""
    beside_them = beside(load("coco-t2i"))
    found = [line.row for line in lines(beside_them, None) if line.judged.verdict is not Verdict.QUOTED]
    scales = {(row.method, row.nfe): set() for row in found}
    for row in found:
        scales[row.method, row.nfe].add(row.guidance_scale)
    assert scales == {key: {"3", "8"} for key in (("DPM++", "4"), ("UniPC", "4"), ("SDv1.5", "50"))}
    one = dataclasses.replace(beside_them, problems=beside_them.problems[:1])
    found = [line.row for line in lines(one, None) if line.judged.verdict is not Verdict.QUOTED]
    assert {row.guidance_scale for row in found} == {"3"}


def test_a_known_name_is_looked_for_among_the_weights_and_a_path_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path))
    assert known_pipelines.located("sd-turbo") == tmp_path / "pipelines" / "sd-turbo"
    assert str(known_pipelines.located("mine/sd-turbo")) == "mine/sd-turbo"
    assert "hf download stabilityai/sd-turbo " in known_pipelines.missing("sd-turbo").command
    assert known_pipelines.missing("mine/sd-turbo") is None
    for file in known_pipelines.files().values():
        assert file.of in known_pipelines.folders()


@pytest.mark.parametrize("name", ["lcm-sdxl", "pixart-xl-2-512x512", "stable-diffusion-v1-5"])
def test_a_small_pipeline_has_the_kind_the_conditions_and_the_autoencoders_levels_of_the_published(
    captions, tmp_path, name
):
    from fewstep.methods.teachers.pipelines import miniature

    folder = known_pipelines.folders()[name]
    miniature.write(folder, tmp_path / name)
    found = facts.read(tmp_path / name)
    assert (found.kind, found.embeds_guidance) == (folder.kind, folder.told_guidance)
    assert found.image_shape[1] == 8 * found.latent_shape[1]
    found.network_files(), found.codec_files(), found.encoder_files()


@pytest.mark.parametrize(
    "name", ["SIM-DiT-600M.pth", "dmd2_sdxl_1step_unet_fp16.bin", "pixart-lcm-xl-2-1024-ms.safetensors"]
)
def test_small_weights_are_of_the_small_pipelines_network(captions, tmp_path, name):
    from fewstep.methods.teachers.pipelines import building, miniature, pipeline

    file = known_pipelines.files()[name]
    miniature.write(known_pipelines.folders()[file.of], tmp_path / "folder")
    miniature.write_weights(file, tmp_path / name)
    own, other = pipeline.read(tmp_path / "folder"), pipeline.read(tmp_path / "folder", network_file=tmp_path / name)
    assert other.checkpoint()[1].keys() == own.checkpoint()[1].keys()
    building.build(*other.checkpoint())


SUITE = {
    "name": "pictures",
    "problems": {
        "dataset": "coco2017",
        "teacher": {"name": "pipeline", "folder": "stable-diffusion-v1-5", "guidance": 3},
        "samples": 5000,
    },
    "nfe": 2,
    "metrics": ["fid_clean", "aesthetic", "clip_score", "image_reward"],
    "device": "cpu",
    "methods": ["euler", {"name": "released", "options": {"folder": "sd-turbo", "sampler": "euler"}}],
}


def test_a_rehearsal_scores_pictures_with_their_captions_and_says_what_decoding_cost(captions, in_process, tmp_path):  # noqa: F811
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SUITE))
    result = call("run", tmp_path / "s.yaml", "--smoke", "--out", tmp_path / "out", "--quiet")
    assert result.exit_code == 0, result.output + result.stderr
    every = rows(tmp_path / "out")
    assert {row["status"] for row in every} == {"done"}
    assert all(row["protocol"].startswith("smoke/") and row["samples"] == "8" for row in every)
    found = {row["metric"]: row for row in every if row["method"] == "euler"}
    # FID compares pictures as small as COCO's; the others look at them as they are.
    assert [name for name, row in found.items() if "lanczos-256" in row["protocol"]] == ["fid_clean"]
    assert "/captions@" in found["image_reward"]["protocol"]
    (costs,) = {tuple(row[name] for name in COSTS) for row in found.values()}
    assert all(float(cost) > 0 for cost in costs)
    # A released student pays for its pictures and conditions as others do.
    (released,) = {tuple(row[name] for name in COSTS) for row in every if row["method"] == "released"}
    assert all(float(cost) > 0 for cost in released)
    said = call("leaderboard", tmp_path / "out").output
    assert "what a picture costs" in said
    assert said.count("GFLOP") == 2


COSTS = ("decode_flops_per_image", "decode_seconds_per_image", "conditioning_flops", "flops_per_image")


@pytest.mark.slow
def test_every_cell_of_coco_is_done(captions, tmp_path):
    result = call("run", "coco-t2i", "--smoke", "--out", tmp_path, "--quiet")
    assert result.exit_code == 0, result.output
    assert {row["status"] for row in rows(tmp_path)} == {"done"}
