"""Folders of diffusers: the network and path that they say, hostile ones, writing, and the library's own schedulers."""

import copy
import json
import shutil
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from fewstep.bench.stages import teacher as stage
from fewstep.methods import solvers
from fewstep.methods.denoiser import EDMDenoiser
from fewstep.methods.distillation.boot import Boot
from fewstep.methods.distillation.consistency import ConsistencyFunction
from fewstep.methods.paths import EDM
from fewstep.methods.specs.boot import BootOptions
from fewstep.methods.teachers import preconditioned
from fewstep.methods.teachers.edm_pickle import CheckpointError
from fewstep.methods.teachers.forms import diffusers as form
from fewstep.methods.teachers.forms import diffusers_schedule as schedule

library = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'fewstep[diffusers]'")

UNET = {
    "sample_size": 8, "in_channels": 3, "out_channels": 3, "block_out_channels": (16, 32), "layers_per_block": 1,
    "norm_num_groups": 8, "attention_head_dim": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip
SHAPE = (3, 8, 8)


def unet(seed=0, size=0.1, **options):
    """A random network: the library's own starts with nothing at zero, and with little to say."""
    torch.manual_seed(seed)
    network = library.UNet2DModel(**{**UNET, **options})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return network.eval()


def saved(folder, scheduler=None, network=None, **options):
    scheduler = scheduler or library.DDPMScheduler()
    library.DDPMPipeline(network or unet(**options), scheduler).save_pretrained(folder)
    return folder


def loaded(folder):
    return form.build(*form.read(folder))


def teacher(folder):
    found = preconditioned.denoiser(loaded(folder), 0.002, 80.0)
    found.sample_shape = SHAPE
    return found.eval()


def samples(count=3, seed=1):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


VARIANTS = [
    {},
    {"flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6, "downsample_padding": 0, "attention_head_dim": None},
    {"num_class_embeds": 4},
    {"center_input_sample": True, "resnet_time_scale_shift": "scale_shift"},
    {"out_channels": 6, "downsample_type": "resnet", "upsample_type": "resnet"},
]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: next(iter(options), "plain"))
def test_the_network_is_the_librarys_and_a_target_time_can_be_told_to_it(tmp_path, options):
    own = unet(**options)
    found = loaded(saved(tmp_path / "folder", network=own))
    network, x, label = found.network.eval(), samples(), torch.tensor([999.0, 37.5, 0.0])
    classes = torch.tensor([3, 0, 1]) if own.class_embedding is not None else None
    assert (found.shape, found.classes) == (SHAPE, options.get("num_class_embeds", 0))
    expected = own(x, label, classes).sample
    torch.testing.assert_close(network(x, label, classes), expected, rtol=1e-5, atol=1e-6)
    given = network(x, torch.zeros(3), classes, embedding=network.embed(label, classes))
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(network(x, torch.zeros(3), classes), expected, rtol=1e-2)


SCHEDULES = {
    "linear": {},
    "scaled": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
    "cosine": {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 400},
    "trained": {"trained_betas": [0.01, 0.02, 0.3], "beta_schedule": "linear"},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_path_is_the_schedulers_chain(name):
    scheduler = library.DDPMScheduler(**SCHEDULES[name])
    path = schedule.path(json.loads(scheduler.to_json_string()))
    n = torch.arange(path.labels, dtype=torch.float64)
    assert path.labels == len(scheduler.betas)
    found = path.alpha(path.time_of_label(n)) ** 2
    torch.testing.assert_close(found, scheduler.alphas_cumprod.double(), rtol=1e-3, atol=1e-6)
    assert float(path.label(path.t_min)) == pytest.approx(0.0, abs=1e-9)


def test_a_chain_without_signal_at_its_end_ends_one_label_before_and_says_so(tmp_path):
    scheduler = library.DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    saved(tmp_path / "folder", scheduler)
    with pytest.warns(UserWarning, match="ends one before"):
        found = loaded(tmp_path / "folder")
    n = torch.arange(999, dtype=torch.float64)
    alphas = found.path.alpha(found.path.time_of_label(n)) ** 2
    torch.testing.assert_close(alphas, scheduler.alphas_cumprod[:999].double(), rtol=1e-3, atol=1e-6)
    assert torch.isfinite(found.path.noise_level(found.path.t_max))


PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


def test_what_the_network_says_is_in_the_schedulers_configuration(tmp_path):
    for name, ours in PREDICTIONS.items():
        saved(tmp_path / name, library.DDIMScheduler(prediction_type=name))
        assert loaded(tmp_path / name).prediction == ours


def test_the_networks_folder_alone_is_a_chain_of_ddpms_betas_or_of_the_scheduler_beside_it(tmp_path):
    unet().save_pretrained(tmp_path / "alone")
    with pytest.warns(UserWarning, match=r"no scheduler_config\.json"):
        found = loaded(tmp_path / "alone")
    assert (found.prediction, found.path.labels) == ("eps", 1000)
    library.DDIMScheduler(500, prediction_type="v_prediction").save_pretrained(tmp_path / "alone")
    found = loaded(tmp_path / "alone")
    assert (found.prediction, found.path.labels) == ("v", 500)


def test_attention_of_the_first_folders_is_read_under_its_old_names(tmp_path):
    own = unet()
    config, state = form.read(saved(tmp_path / "folder", network=own))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    names = {}
    for name in state:
        new = next((part for part in old if f".{part}." in name), None)
        names[name if new is None else name.replace(new, old[new])] = state[name]
    assert names.keys() != state.keys()
    network, x = form.build(config, names).network, samples()
    torch.testing.assert_close(network(x, torch.full((3,), 9.0)), own(x, 9).sample, rtol=1e-5, atol=1e-6)


def test_shards_are_read(tmp_path):
    own = unet()
    own.save_pretrained(tmp_path / "folder", max_shard_size="40KB")
    assert len(list((tmp_path / "folder").glob("*.safetensors"))) > 1
    library.DDPMScheduler().save_pretrained(tmp_path / "folder")
    x = samples()
    network = loaded(tmp_path / "folder").network
    torch.testing.assert_close(network(x, torch.full((3,), 9.0)), own(x, 9).sample, rtol=1e-5, atol=1e-6)


def changed(file, **entries):
    content = json.loads(file.read_text())
    content.update(entries)
    file.write_text(json.dumps({key: value for key, value in content.items() if value != "absent"}))


def hostile(folder, case):
    """Make the folder hostile in one way; what the one line must say."""
    index, network, chain = (folder / name for name in ("model_index.json", "unet", "scheduler"))
    weights, config = network / form.WEIGHTS, network / "config.json"
    scheduler = chain / "scheduler_config.json"
    shards = network / f"{form.WEIGHTS}.index.json"
    match case:
        case "custom pipeline":
            changed(index, _class_name=["pipeline", "MyPipeline"])
            return "pipeline"
        case "another pipeline":
            changed(index, _class_name="StableDiffusionPipeline")
            return "DDPMPipeline"
        case "another class":
            changed(index, unet=["my_module", "UNet2DModel"])
            return "is not diffusers' UNet2DModel"
        case "one part more":
            changed(index, safety_checker=["os", "system"])
            return "safety_checker"
        case "auto_map":
            changed(config, auto_map={"AutoModel": "modeling.Mine"})
            return "auto_map"
        case "another network":
            changed(config, _class_name="UNet2DConditionModel")
            return "UNet2DConditionModel"
        case "another scheduler":
            changed(scheduler, _class_name="ScoreSdeVeScheduler")
            return "ScoreSdeVeScheduler"
        case "unknown argument":
            changed(config, use_magic=True)
            return "use_magic"
        case "only pickles":
            weights.rename(network / "diffusion_pytorch_model.bin")
            return "safe_serialization"
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
            return "not whole safetensors"
        case "no tensors":
            weights.write_bytes(b"\x80\x04" + b"x" * 40)
            return "not whole safetensors"
        case "wrong shapes":
            changed(config, block_out_channels=[8, 32])
            return "size mismatch"
        case "a missing tensor":
            changed(config, layers_per_block=2)
            return "Missing key"
        case "a giant":
            changed(config, block_out_channels=[2**40, 2**40])
            return "not a network of diffusers"
        case "a thousand layers":
            changed(config, layers_per_block=10**9)
            return "1000000000 layers"
        case "betas":
            changed(scheduler, trained_betas=[0.1, float("nan")])
            return "betas"
        case "beta schedule":
            changed(scheduler, beta_schedule="sigmoid")
            return "sigmoid"
        case "prediction":
            changed(scheduler, prediction_type="flow_prediction")
            return "flow_prediction"
        case "no size":
            changed(config, sample_size=None)
            return "sample_size"
        case "no configuration":
            config.unlink()
            return "no such file"
        case "no JSON":
            index.write_text("{" * 100_000)
            return "not a configuration"
        case "deep JSON":
            index.write_text("[" * 100_000)
            return "not a configuration"
        case "a list":
            index.write_text("[]")
            return "not a mapping"
        case _:
            weights.unlink()
            shards.write_text(json.dumps({"weight_map": {"conv_in.weight": case}}))
            return "beside it"


HOSTILE = (
    "custom pipeline", "another pipeline", "another class", "one part more", "auto_map", "another network",
    "another scheduler", "unknown argument", "only pickles", "truncated", "no tensors", "wrong shapes",
    "a missing tensor", "a giant", "a thousand layers", "betas", "beta schedule", "prediction", "no size",
    "no configuration", "no JSON", "deep JSON", "a list", "../stolen.safetensors", "/etc/passwd", "a\\b.safetensors",
    "weights.bin",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("diffusers") / "folder")


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_is_one_line_and_runs_nothing(tmp_path, folder, case):
    copied = shutil.copytree(folder, tmp_path / "folder")
    says = hostile(copied, case)
    with pytest.raises(CheckpointError) as found:
        loaded(copied)
    message = str(found.value)
    assert says in message
    assert "\n" not in message
    assert len(message) < 900


def test_pickles_beside_the_weights_are_not_opened(tmp_path, folder):
    copied = shutil.copytree(folder, tmp_path / "folder")
    (copied / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    assert loaded(copied).shape == SHAPE


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_is_written_as_a_folder_that_samples_the_same(tmp_path, prediction):
    scheduler = library.DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=prediction, steps_offset=1)
    first = teacher(saved(tmp_path / "folder", scheduler))
    student = copy.deepcopy(first)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.01)
    form.write(student, tmp_path / "written")
    again, x = teacher(tmp_path / "written"), samples()
    for s in (0.1, 1.0, 60.0):
        assert torch.equal(again(s * x, s), student(s * x, s))
        assert not torch.equal(again(s * x, s), first(s * x, s))
    pipeline = library.DDPMPipeline.from_pretrained(tmp_path / "written", local_files_only=True)
    assert pipeline.scheduler.config.prediction_type == prediction
    label = torch.full((3,), 250.0)
    torch.testing.assert_close(pipeline.unet(x, label).sample, student.network.network(x, label), rtol=1e-5, atol=1e-6)
    form.write(student.on(student.trained_path), tmp_path / "of-the-network")
    with pytest.raises(FileExistsError):
        form.write(student, tmp_path / "written")


def test_what_is_no_pipelines_network_is_not_written(tmp_path, folder):
    own = teacher(folder)
    boundary = ConsistencyFunction(own.network, own.sigma_data, own.path)
    signal = Boot(own, BootOptions(batch=2)).student
    alone = EDMDenoiser(torch.nn.Linear(2, 2), 0.5, EDM())
    for denoiser in (boundary, signal, alone):
        with pytest.raises(ValueError, match=r"is not a network|not one of a diffusers folder"):
            form.write(denoiser, tmp_path / "written")
    assert not (tmp_path / "written").exists()


@torch.no_grad()
def theirs(scheduler, network, noise, steps):
    """What the library's scheduler makes of this noise, scaled as its pipelines do."""
    scheduler.set_timesteps(steps)
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        said = network(scheduler.scale_model_input(x, t), torch.as_tensor(t).float().expand(len(x)))
        x = scheduler.step(said, t, x).prev_sample
    return x


LEADING = {"spacing": "labels-leading", "offset": 1}
PAIRS = {
    "ddim leading": ("DDIMScheduler", {"timestep_spacing": "leading", "steps_offset": 1}, "euler", LEADING),
    "ddim leading, no offset": ("DDIMScheduler", {}, "ddim", {"spacing": "labels-leading"}),
    "ddim leading to label 0": (
        "DDIMScheduler", {"steps_offset": 1, "set_alpha_to_one": False}, "euler", {**LEADING, "end": "min"}
    ),
    "ddim trailing": ("DDIMScheduler", {"timestep_spacing": "trailing"}, "euler", {"spacing": "labels-trailing"}),
    "euler linspace": ("EulerDiscreteScheduler", {}, "euler", {"spacing": "labels-linspace"}),
    "euler leading": ("EulerDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}, "euler", LEADING),
    "euler trailing": (
        "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, "euler", {"spacing": "labels-trailing"}
    ),
    "dpm linspace": (
        "DPMSolverMultistepScheduler", {}, "dpmpp-2m", {"spacing": "labels-linspace", "parts": "steps+1"}
    ),
    "dpm leading": (
        "DPMSolverMultistepScheduler", {"timestep_spacing": "leading", "steps_offset": 1}, "dpmpp-2m",
        {**LEADING, "parts": "steps+1"},
    ),
    "dpm trailing": (
        "DPMSolverMultistepScheduler", {"timestep_spacing": "trailing"}, "dpmpp-2m", {"spacing": "labels-trailing"}
    ),
    "unipc linspace": (
        "UniPCMultistepScheduler", {}, "unipc-2", {"spacing": "labels-linspace", "parts": "steps+1"}
    ),
    "unipc leading": (
        "UniPCMultistepScheduler", {"timestep_spacing": "leading", "steps_offset": 1, "solver_order": 3}, "unipc-3",
        {**LEADING, "parts": "steps+1"},
    ),
    "unipc trailing": (
        "UniPCMultistepScheduler", {"timestep_spacing": "trailing"}, "unipc-2", {"spacing": "labels-trailing"}
    ),
}  # fmt: skip


def scheduler_of(kind, options, prediction, betas="scaled"):
    options = {**SCHEDULES[betas], **options, "prediction_type": prediction}
    if kind == "DDIMScheduler":
        options["clip_sample"] = False
    return getattr(library, kind)(**options)


@cache
def teacher_of(prediction):
    """One network, read as each prediction."""
    chain = json.loads(scheduler_of("DDPMScheduler", {}, prediction).to_json_string())
    config = {"form": form.FORM, "kwargs": UNET, "scheduler": chain}
    return preconditioned.denoiser(form.build(config, unet(size=0.03).state_dict()), 0.002, 80.0).eval()


def compared(kind, options, name, grid, prediction, steps, **ours):
    """rms of the difference to the library's samples, relative to the samples' own."""
    scheduler, found, noise = scheduler_of(kind, options, prediction), teacher_of(prediction), samples(2)
    expected = theirs(scheduler, found.network.network, noise, steps)
    unit = scheduler.init_noise_sigma == 1 or "leading" in options.get("timestep_spacing", "")
    solver = solvers.get(name, grid=grid, start="unit" if unit else "scaled", **ours)
    x = solver.sample(found, noise, nfe=steps)
    return float((x - expected).square().mean().sqrt() / expected.square().mean().sqrt())


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("pair", PAIRS)
def test_solvers_are_the_librarys_schedulers(pair, prediction):
    # The last step from label 1 to label 0 takes eps = (x - alpha D)/sigma at sigma = 0.04 in float32.
    tolerance = 2e-5 if prediction == "sample" and pair == "ddim leading to label 0" else 1e-5
    several = (4, 10, 20) if "ddim trailing" in pair else (4, 7, 12, 20)
    for steps in several if prediction == "epsilon" else several[1:2]:
        assert compared(*PAIRS[pair], prediction, steps) < tolerance, steps


UNLIKE = {
    "ddim trailing, which steps to n - N//K": (*PAIRS["ddim trailing"], "epsilon", 7),
    "dpm's lower last order below 15 steps": (
        "DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min"}, "dpmpp-2m",
        {"spacing": "labels-linspace", "parts": "steps+1", "end": "min"}, "v_prediction", 12,
    ),
    "ddim linspace": (
        "DDIMScheduler", {"timestep_spacing": "linspace"}, "euler", {"spacing": "labels-linspace"}, "epsilon", 7
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNLIKE)
def test_where_the_librarys_chain_is_another_it_is_not_imitated(case):
    assert compared(*UNLIKE[case]) > 1e-2


def test_dpms_last_step_to_label_0_is_of_the_librarys_order_where_that_is_asked_for():
    assert compared(*UNLIKE["dpm's lower last order below 15 steps"], lower_order_final="always") < 1e-5


def test_the_start_is_part_of_the_comparison():
    found, noise = teacher_of("epsilon"), samples(2)
    unit, scaled = (
        solvers.get("euler", grid=LEADING, start=start).sample(found, noise, nfe=4) for start in ("unit", "scaled")
    )
    assert 2e-3 < float((unit - scaled).square().mean().sqrt() / unit.square().mean().sqrt()) < 0.1


def test_a_network_that_needs_its_label_is_measured_with_one(tmp_path):
    denoiser = teacher(saved(tmp_path / "labelled", num_class_embeds=4))
    plain = teacher(saved(tmp_path / "plain"))
    measured = [stage._result(network, SimpleNamespace(shape=SHAPE)) for network in (denoiser, plain)]
    assert measured[0].flops_per_evaluation == measured[1].flops_per_evaluation > 0
