"""Text-to-image folders of diffusers: whole pipelines are the library's, from prompts to 8-bit images."""

import copy
from functools import cache

import pytest
import torch

from fewstep.methods import solvers
from fewstep.methods.denoiser import Guided
from fewstep.methods.distillation.boot import SignalPredictor
from fewstep.methods.elsewhere.released import Released
from fewstep.methods.networks.over_time import residual_blocks
from fewstep.methods.prompts import Encoded, write
from fewstep.methods.specs.released import ReleasedOptions
from fewstep.methods.teachers.edm_pickle import CheckpointError
from fewstep.methods.teachers.pipelines import building
from fewstep.methods.teachers.pipelines.facts import Encoding
from fewstep.methods.teachers.pipelines.networks import PixArt, TextUNet
from fewstep.methods.teachers.pipelines.pipeline import read
from fewstep.tests.methods import tiny_pipelines as tiny

EXACT = Encoding(stored="float32", batch=3)
ROWS = torch.tensor([0, 1])
LEADING = {"spacing": "labels-leading", "offset": 1}


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """Every connection is an error."""

    def refused(*args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("socket.getaddrinfo", refused)


MADE = {
    "sd": tiny.sd,
    "sd-v": lambda folder: tiny.sd(folder, "v_prediction"),
    "sdxl": tiny.sdxl,
    "pixart": tiny.pixart,
    "sigma": lambda folder: tiny.pixart(folder, tiny.diffusers.PixArtSigmaPipeline),
    "lcm": lambda folder: tiny.sd(folder, time_cond_proj_dim=8),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """kind -> (folder, what is read of it, its table of tiny.PROMPTS), made once."""

    @cache
    def made(kind):
        folder = MADE[kind](tmp_path_factory.mktemp("pipelines") / kind)
        pipeline = read(folder)
        file = folder.parent / f"{kind}-prompts.safetensors"
        encoded = pipeline.encode(tiny.PROMPTS, EXACT)
        return folder, pipeline, write(file, encoded, len(tiny.PROMPTS) + 1, pipeline.identity(EXACT))

    return made


@pytest.fixture(scope="module")
def teachers(opened):
    @cache
    def made(kind, guidance=None):
        _, pipeline, table = opened(kind)
        return pipeline.denoiser(table, guidance=guidance, codec=pipeline.codec())

    return made


@cache
def theirs(folder, name):
    pipeline = getattr(tiny.diffusers, name).from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def noise(count=2, seed=0):
    return torch.randn(count, 4, tiny.SIDE, tiny.SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def rms(x):
    return float(x.square().mean().sqrt())


def uint8(images):
    return ((images / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)


def library_samples(folder, name, steps, w, output, prompts=tiny.PROMPTS[:2]):
    options = {"clean_caption": False, "use_resolution_binning": False} if "PixArt" in name else {}
    found = theirs(folder, name)(
        prompts, latents=noise(len(prompts)), num_inference_steps=steps, guidance_scale=w, height=16, width=16,
        output_type=output, **options,
    ).images  # fmt: skip
    return found if output == "latent" else (torch.from_numpy(found) * 255).round().byte()


SOLVERS = {
    "sd": ("euler", {**LEADING, "end": "min"}),
    "sd-v": ("euler", {**LEADING, "end": "min"}),
    "sdxl": ("euler", LEADING),
    "pixart": ("dpmpp-2m", {"spacing": "labels-linspace", "parts": "steps+1"}),
    "sigma": ("dpmpp-2m", {"spacing": "labels-linspace", "parts": "steps+1"}),
}


WHOLE = [("sd", 7.5, 7), ("sdxl", 7.5, 4), ("pixart", 7.5, 4)]
MORE = [("sd", 1.0, 4), ("sd-v", 7.5, 4), ("sdxl", 1.0, 4), ("pixart", 1.0, 4), ("pixart", 7.5, 7), ("sigma", 7.5, 4)]


@pytest.mark.parametrize(
    ("kind", "w", "steps"), [*WHOLE, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)]
)
def test_whole_pipelines_are_the_librarys(opened, teachers, kind, w, steps):
    folder, pipeline, _ = opened(kind)
    name, grid = SOLVERS[kind]
    teacher = teachers(kind)
    expected = library_samples(folder, pipeline.facts.pipeline, steps, w, "latent")
    solver = solvers.get(name, grid=grid, start="unit")
    found = solver.sample(teacher if w == 1 else Guided(teacher, w), noise(), nfe=steps, condition=ROWS)
    assert rms(found - expected) < 1e-5 * rms(expected)
    images = library_samples(folder, pipeline.facts.pipeline, steps, w, "np")
    assert torch.equal(uint8(teacher.codec.decode(expected)), images)
    assert (uint8(teacher.codec.decode(found)).int() - images.int()).abs().max() <= 1
    swapped = solver.sample(teacher if w == 1 else Guided(teacher, w), noise(), nfe=steps, condition=ROWS.flip(0))
    assert rms(swapped - expected) > 1e-3 * rms(expected), "the captions must matter"


def test_a_latent_consistency_models_pipeline_is_lcm_with_its_guidance_embedded(opened, teachers, monkeypatch):
    folder, _, _ = opened("lcm")
    drawn = [noise(seed=seed) for seed in range(1, 4)]
    steps = iter(drawn)
    monkeypatch.setattr("diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *args, **kwargs: next(steps))
    expected = library_samples(folder, "LatentConsistencyModelPipeline", 4, 8.0, "latent")
    row = Released(teachers("lcm", 8.0), ReleasedOptions(folder="lcm", sampler="lcm"))
    found = row.sample(noise(), 4, ROWS, lambda j: drawn[j])
    assert rms(found - expected) < 1e-5 * rms(expected)
    other = Released(teachers("lcm", 3.0), row.options).sample(noise(), 4, ROWS, lambda j: drawn[j])
    assert rms(other - expected) > 1e-3 * rms(expected)


def test_a_network_is_told_a_guidance_scale_if_and_only_if_it_embeds_one(opened):
    for kind, guidance in (("lcm", None), ("sd", 4.0)):
        _, pipeline, table = opened(kind)
        with pytest.raises(CheckpointError, match="told the guidance scale"):
            pipeline.denoiser(table, guidance=guidance)


def random_table(folder, length, width, pooled=None, masked=False, count=3):
    g = torch.Generator().manual_seed(0)
    counts = torch.tensor([5, length, 2])
    mask = torch.arange(length) < counts[:, None] if masked else None
    tokens = torch.randn(count, length, width, generator=g)
    part = Encoded(tokens, mask, None if pooled is None else torch.randn(count, pooled, generator=g))
    return write(folder / "table.safetensors", [part], count, ""), part


def test_a_pixart_of_1024_pixels_is_told_size_and_aspect_ratio(tmp_path):
    table, text = random_table(tmp_path, 9, 32, masked=True)
    library = tiny.pixart_network(1, 32, use_additional_conditions=True)
    network = PixArt(library, {}, (96, 64), table)
    label, rows = torch.tensor([999.0, 1.5]), torch.tensor([0, 2])
    sizes = {"resolution": torch.tensor([[96.0, 64.0]] * 2), "aspect_ratio": torch.tensor([[1.5]] * 2)}
    expected = library(
        noise(), encoder_hidden_states=text.tokens[rows], encoder_attention_mask=text.mask[rows], timestep=label,
        added_cond_kwargs=sizes,
    ).sample  # fmt: skip
    torch.testing.assert_close(network(noise(), label, rows), expected, rtol=1e-5, atol=1e-5)
    network.size = (64, 64)
    assert not torch.allclose(network(noise(), label, rows), expected, rtol=1e-2)


def test_latents_whose_sides_do_not_halve_evenly_are_the_librarys(tmp_path):
    table, text = random_table(tmp_path, 7, 16)
    library, x = tiny.unet(1, 16), torch.randn(2, 4, 7, 9, generator=torch.Generator().manual_seed(0))
    label, rows = torch.tensor([999.0, 1.5]), torch.tensor([0, 2])
    expected = library(x, label, text.tokens[rows]).sample
    found = TextUNet(library, {}, (14, 18), table)(x, label, rows)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["sd", "sdxl", "pixart"])
def test_boot_can_tell_the_network_its_target_time(teachers, kind):
    teacher = teachers(kind)
    network, label = teacher.network.network, torch.tensor([999.0, 40.0])
    said = network(noise(), label, ROWS)
    given = network(noise(), torch.zeros(2), ROWS, embedding=network.embed(label, ROWS))
    torch.testing.assert_close(given, said, rtol=1e-5, atol=1e-5)
    student = SignalPredictor(teacher).eval()
    x, t_max = teacher.path.t_max * noise(), teacher.path.t_max
    D = super(type(teacher), teacher).denoise(x, torch.tensor(t_max), ROWS)
    torch.testing.assert_close(student(noise(), 0.5, ROWS), D, rtol=1e-4, atol=1e-3)
    again = copy.deepcopy(student)
    assert torch.equal(again(noise(), 0.5, ROWS), student(noise(), 0.5, ROWS))


def test_layers_over_time_have_a_place_in_a_unet_and_none_in_a_transformer(teachers):
    assert len(residual_blocks(teachers("sd").network)) == 1 + 1 + 1 + 2 + 2
    with pytest.raises(ValueError, match="does not say which those are"):
        residual_blocks(teachers("pixart").network)


def test_in_half_precision_the_label_reaches_the_embedding_as_it_is(opened, teachers):
    _, pipeline, table = opened("sd")
    half, whole, told = pipeline.denoiser(table, dtype="bfloat16"), teachers("sd"), []
    half.network.network.unet.time_proj.register_forward_hook(lambda module, args, out: told.append(args[0]))
    x, s = noise(), torch.tensor(whole.path.t_max, dtype=torch.float64)
    for sigma in (s, s / 14):
        found, expected = half(sigma * x, sigma, ROWS), whole(sigma * x, sigma, ROWS)
        assert rms(found - expected) < 3e-2 * rms(expected)
    assert (told[0].dtype, told[0].tolist()) == (torch.float32, [999.0, 999.0])
    assert float(told[1][0].bfloat16()) != pytest.approx(float(told[1][0]), abs=1e-3)


@pytest.mark.parametrize("kind", ["sd", "pixart"])
def test_a_sample_does_not_depend_on_its_batch_or_on_the_captions_beside_it(teachers, kind):
    teacher, rows = Guided(teachers(kind), 4.0), torch.tensor([1, 0, 3, 2])
    solver = solvers.get("euler", grid={"spacing": "labels-trailing"})
    together = solver.sample(teacher, noise(4), nfe=2, condition=rows)
    for i in (0, 2):
        alone = solver.sample(teacher, noise(4)[[i]], nfe=2, condition=rows[[i]])
        assert rms(alone - together[[i]]) < 2e-6 * rms(together)


def test_without_a_condition_the_prompt_is_the_null_one(opened, teachers):
    _, _, table = opened("sdxl")
    teacher, x = teachers("sdxl"), noise()
    null = torch.full((2,), table.null)
    assert torch.equal(teacher(x, 1.0), teacher(x, 1.0, null))
    assert table.at(null[:1]).tokens.abs().max() == table.at(null[:1]).pooled.abs().max() == 0
    assert teacher.prompts.evaluation == range(len(tiny.PROMPTS))


def test_copies_share_the_table_and_the_autoencoder_and_no_state_has_them(opened, teachers):
    _, _, table = opened("sd")
    teacher = teachers("sd")
    copied = copy.deepcopy(teacher)
    assert copied.network.network.table is table
    assert copied.codec is teacher.codec
    names = set(teacher.state_dict())
    assert names == {f"network.network.unet.{name}" for name in teacher.network.network.unet.state_dict()}


def test_a_table_of_other_encoders_is_refused_at_once(opened, tmp_path):
    (_, sd, _), (_, pixart, _) = opened("sd"), opened("pixart")
    with pytest.raises(CheckpointError, match="tokens of 40 numbers, and the network reads 16"):
        sd.denoiser(opened("sdxl")[2])
    with pytest.raises(CheckpointError, match="no pooled prompts, and the network reads 12"):
        opened("sdxl")[1].denoiser(random_table(tmp_path, 5, 40)[0])
    with pytest.raises(CheckpointError, match="no mask"):
        pixart.denoiser(random_table(tmp_path, 5, 32)[0])


def test_a_network_without_a_table_says_so(opened):
    _, pipeline, _ = opened("sd")
    network = building.build(*pipeline.checkpoint()).network
    with pytest.raises(ValueError, match="no table of prompts yet"):
        network(noise(), torch.zeros(2), ROWS)


GRIDS = {
    "ddim leading": (
        "DDIMScheduler", {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}, "euler",
        {**LEADING, "end": "min"},
    ),
    "ddim trailing": ("DDIMScheduler", {"timestep_spacing": "trailing"}, "euler", {"spacing": "labels-trailing"}),
    "euler leading": ("EulerDiscreteScheduler", {"timestep_spacing": "leading", "steps_offset": 1}, "euler", LEADING),
    "euler linspace": ("EulerDiscreteScheduler", {}, "euler", {"spacing": "labels-linspace"}),
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
    "unipc trailing": (
        "UniPCMultistepScheduler", {"timestep_spacing": "trailing", "solver_order": 3}, "unipc-3",
        {"spacing": "labels-trailing"},
    ),
}  # fmt: skip


def difference(opened, teachers, kind, grid, steps, w=4.0, **ours):
    """rms of the difference to the library's latents with another scheduler, relative to the latents' own."""
    folder, pipeline, _ = opened(kind)
    name, options, solver, spacing = GRIDS[grid] if isinstance(grid, str) else grid
    library = theirs(folder, pipeline.facts.pipeline)
    kept = library.scheduler
    given = {key: value for key, value in pipeline.facts.scheduler.items() if key.startswith(("beta_", "prediction"))}
    fixed = {"clip_sample": False} if name == "DDIMScheduler" else {}
    library.scheduler = getattr(tiny.diffusers, name)(**given, **fixed, **options)
    start = "scaled" if library.scheduler.init_noise_sigma != 1 and "leading" not in options.values() else "unit"
    try:
        expected = library_samples(folder, pipeline.facts.pipeline, steps, w, "latent")
    finally:
        library.scheduler = kept
    sampler = solvers.get(solver, grid=spacing, start=start, **ours)
    found = sampler.sample(Guided(teachers(kind), w), noise(), nfe=steps, condition=ROWS)
    return rms(found - expected) / rms(expected)


@pytest.mark.slow
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kind", ["sd", "sd-v", "sdxl", "pixart"])
def test_on_each_grid_a_guided_sample_is_the_librarys(opened, teachers, kind, grid):
    for steps in (4, 10) if "ddim trailing" in grid else (4, 12):
        assert difference(opened, teachers, kind, grid, steps) < 1e-5, steps


MINIMUM = {"final_sigmas_type": "sigma_min"}
UNLIKE = {
    "ddim trailing where steps do not divide the labels": (GRIDS["ddim trailing"], 7),
    "ddim linspace": (("DDIMScheduler", {"timestep_spacing": "linspace"}, "euler", {"spacing": "labels-linspace"}), 7),
    "dpm's lower last order": (
        ("DPMSolverMultistepScheduler", MINIMUM, "dpmpp-2m", {**GRIDS["dpm linspace"][3], "end": "min"}), 12
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", UNLIKE)
def test_where_the_librarys_chain_is_another_latents_differ_too(opened, teachers, case):
    grid, steps = UNLIKE[case]
    kind = "sd-v" if "dpm" in case else "sd"
    assert difference(opened, teachers, kind, grid, steps) > 1e-2
    if "dpm" in case:
        assert difference(opened, teachers, kind, grid, steps, lower_order_final="always") < 1e-5
