"""Tables of prompts from a folder's text encoders, what they are known by, and the codec."""

import json
import shutil

import pytest
import torch

from fewstep.methods.prompts import write
from fewstep.methods.teachers.edm_pickle import CheckpointError
from fewstep.methods.teachers.pipelines.autoencoder import read as codec_of
from fewstep.methods.teachers.pipelines.encoders import TextEncoder
from fewstep.methods.teachers.pipelines.facts import Encoding
from fewstep.methods.teachers.pipelines.facts import read as facts_of
from fewstep.methods.teachers.pipelines.pipeline import read
from fewstep.tests.methods import tiny_pipelines as tiny

EXACT = Encoding(stored="float32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("encoders")
    return {"sd": tiny.sd(root / "sd"), "pixart": tiny.pixart(root / "pixart")}


@pytest.fixture
def sd(tmp_path, folders):
    return shutil.copytree(folders["sd"], tmp_path / "sd")


def tokens(folder, prompts=("a cat",), encoding=EXACT):
    return torch.cat([part.tokens for part in read(folder).encode(list(prompts), encoding)])


def test_only_the_tokens_that_count_are_kept_of_t5(tmp_path, folders):
    pipeline = read(folders["pixart"])
    table = write(tmp_path / "table.safetensors", pipeline.encode(tiny.PROMPTS, EXACT), 5, "")
    counts = table.at(torch.arange(5)).mask.sum(1)
    assert (table.length, counts[2], counts[table.null]) == (120, 1, 1)
    assert counts[1] > counts[3] > 1


def test_pixarts_prompts_are_in_lower_case_as_its_pipeline_makes_them(folders):
    lower, upper = (next(read(folders["pixart"]).encode([text], EXACT)).tokens for text in ("a cat", " A Cat "))
    assert torch.equal(lower, upper)


def test_both_published_forms_of_clips_tokenizer_are_read(sd):
    expected = tokens(sd, tiny.PROMPTS)
    tokenizer = tiny.transformers.CLIPTokenizer.from_pretrained(sd / "tokenizer")
    for name in ("vocab.json", "merges.txt"):
        (sd / "tokenizer" / name).unlink()
    tokenizer.save_pretrained(sd / "tokenizer")
    assert (sd / "tokenizer" / "tokenizer.json").is_file()
    assert torch.equal(tokens(sd, tiny.PROMPTS), expected)


def test_encoders_of_the_first_folders_have_a_prefix_and_positions_in_their_files(sd):
    expected, file = tokens(sd), sd / "text_encoder" / "model.safetensors"
    old = {f"text_model.{name.removeprefix('text_model.')}": tensor for name, tensor in tiny.load_file(file).items()}
    tiny.save_file({**old, "text_model.embeddings.position_ids": torch.arange(77)[None]}, file)
    assert torch.equal(tokens(sd), expected)


def test_the_size_of_a_batch_changes_nothing(folders):
    one, three = (tokens(folders["sd"], tiny.PROMPTS, Encoding(stored="float32", batch=n)) for n in (1, 3))
    assert len(one) == len(tiny.PROMPTS) + 1
    torch.testing.assert_close(one, three, rtol=1e-5, atol=1e-6)


def test_the_null_prompt_is_the_encoding_of_nothing_or_zeros_by_the_folders_index(tmp_path):
    folder = tiny.sdxl(tmp_path / "sdxl")
    assert [float(part.tokens[-1].abs().max()) for part in read(folder).encode([""], EXACT)][1:] == [0]
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    empty, null = read(folder).encode([""], EXACT)
    assert torch.equal(empty.tokens, null.tokens)
    assert torch.equal(empty.pooled, null.pooled)


def test_a_table_is_known_by_encoder_tokenizer_length_cleaning_and_precision(sd, folders):
    first = facts_of(sd).identity()
    others = [facts_of(folders["pixart"]).identity(Encoding(clean=clean)) for clean in (False, True)]
    others += [facts_of(sd).identity(Encoding(length=20)), facts_of(sd).identity(Encoding(stored="float32"))]
    assert facts_of(folders["sd"]).identity() == first
    file = sd / "tokenizer" / "merges.txt"
    file.write_text(file.read_text().replace("d o\n", ""))
    others.append(facts_of(sd).identity())
    shutil.copy(folders["sd"] / "tokenizer" / "merges.txt", file)
    weights = sd / "text_encoder" / "model.safetensors"
    tiny.save_file({name: 1.01 * tensor for name, tensor in tiny.load_file(weights).items()}, weights)
    others.append(facts_of(sd).identity())
    assert len({first, *others}) == 1 + len(others)


def test_a_length_is_kept_and_one_that_the_encoder_cannot_read_is_refused(folders):
    assert tokens(folders["sd"], encoding=Encoding(length=20)).shape[1] == 20
    with pytest.raises(CheckpointError, match="reads 77 tokens, not 300"):
        read(folders["sd"]).encode(["a"], Encoding(length=300))


def test_cleaning_is_pixarts_alone_and_needs_its_packages(folders, monkeypatch):
    with pytest.raises(CheckpointError, match="clean is PixArt's"):
        read(folders["sd"]).encode(["a"], Encoding(clean=True))
    monkeypatch.setitem(tiny.sys.modules, "bs4", None)
    with pytest.raises(CheckpointError, match="bs4"):
        read(folders["pixart"]).encode(["a"], Encoding(clean=True))


def spoilt(folder, case):
    """Make the encoder's folder hostile in one way; what the one line must say."""
    encoder, settings = folder / "text_encoder", folder / "tokenizer" / "tokenizer_config.json"
    config, weights = encoder / "config.json", encoder / "model.safetensors"
    match case:
        case "only pickles":
            weights.rename(encoder / "pytorch_model.bin")
            return "safe_serialization"
        case "code of its own":
            tiny.changed(config, auto_map={"AutoModel": "modeling.Mine"})
            return "auto_map"
        case "a tokenizer's code":
            tiny.changed(settings, auto_map={"AutoTokenizer": ["mine.Tokenizer", None]})
            return "auto_map"
        case "quantised":
            tiny.changed(config, quantization_config={"quant_method": "bitsandbytes"})
            return "quantization_config"
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-100])
            return "not whole safetensors"
        case "wrong shapes":
            tiny.changed(config, intermediate_size=48)
            return "not a CLIPTextModel"
        case "a missing tensor":
            tiny.changed(config, num_hidden_layers=4)
            return "tensors of a CLIPTextModel are missing"
        case "a thousand layers":
            tiny.changed(config, num_hidden_layers=10**9)
            return "1000000000 layers"
        case "a giant":
            tiny.changed(config, vocab_size=2**40)
            return "not a CLIPTextModel"
        case "no tokenizer":
            shutil.rmtree(folder / "tokenizer")
            return "tokenizer"
        case "shards elsewhere":
            weights.unlink()
            index = encoder / "model.safetensors.index.json"
            index.write_text(json.dumps({"weight_map": {"a": "../../stolen.safetensors"}}))
            return "beside it"


CASES = (
    "only pickles", "code of its own", "a tokenizer's code", "quantised", "truncated", "wrong shapes",
    "a missing tensor", "a thousand layers", "a giant", "no tokenizer", "shards elsewhere",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_encoder_is_one_line_at_once(sd, case):
    says = spoilt(sd, case)
    with pytest.raises(CheckpointError) as found:
        read(sd).encode(["a"], EXACT)
    assert says in str(found.value)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 900


def test_loading_an_encoder_prints_nothing(sd, capfd):
    TextEncoder(facts_of(sd), "text_encoder", EXACT, "cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("options", [{}, {"shift_factor": 0.2, "scaling_factor": 0.5}, {
    "latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 0.5, 0.7], "scaling_factor": 0.3,
}], ids=["plain", "shift", "statistics"])  # fmt: skip
def test_the_codec_is_the_folders_autoencoder_with_its_factors(sd, options):
    vae = tiny.vae(**options)
    vae.save_pretrained(sd / "vae")
    codec, x = codec_of(facts_of(sd)), torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert codec.image_shape == (3, 16, 16)
    with torch.no_grad():
        found = vae.encode(x).latent_dist
        scale = vae.config.scaling_factor
        shift, std = options.get("shift_factor", 0.0), torch.ones(4)
        if "latents_std" in options:
            shift, std = (torch.tensor(options[key]) for key in ("latents_mean", "latents_std"))
            shift, std = shift.view(-1, 1, 1), std.view(-1, 1, 1)
        else:
            std = std.view(-1, 1, 1)
        mean = (found.mean - shift) * scale / std
        torch.testing.assert_close(codec.encode(x), (mean, found.std * scale / std), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(codec.decode(mean), vae.decode(found.mean).sample, rtol=1e-4, atol=1e-5)


def test_a_codec_is_known_by_weights_and_factors_and_reads_the_names_of_the_first_folders(sd):
    first, file = codec_of(facts_of(sd)), sd / "vae" / "diffusion_pytorch_model.safetensors"
    tiny.changed(sd / "vae" / "config.json", scaling_factor=0.5)
    assert codec_of(facts_of(sd)).identity != first.identity
    tiny.changed(sd / "vae" / "config.json", scaling_factor=0.18215)
    assert codec_of(facts_of(sd)).identity == first.identity
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in tiny.load_file(file).items():
        new = next((part for part in old if f".{part}." in name), None)
        convolution = new and tensor.ndim == 2
        renamed[name.replace(new, old[new]) if new else name] = tensor[..., None, None] if convolution else tensor
    tiny.save_file(renamed, file)
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(codec_of(facts_of(sd)).decode(z), first.decode(z))
