"""Networks that are told captions: encoded while they are trained, looked up in a table of the frozen encoder after."""

import copy

import pytest
import torch

from fewstep.methods import saved, solvers
from fewstep.methods.denoiser import Guided
from fewstep.methods.networks.captions import EncodedCaptions
from fewstep.methods.prompts import PromptTable
from fewstep.methods.randomness import noise
from fewstep.methods.registry import method
from fewstep.methods.specs.teachers.pretrain import PretrainOptions
from fewstep.methods.teachers import pretrain
from fewstep.methods.text_encoder import TextEncoder, tokens

CAPTIONS = ("a one left of a two", "a two left of a one", "a one above a two")
OPTIONS = PretrainOptions(network={"name": "unet", "channels": 8, "multipliers": [1]}, label_dropout=0.1)
SHAPE = (1, 8, 8)
STUDENTS = ("consistency", "boot", "sim", "diff-instruct", "knowledge", "bespoke")


def trained(seed=0):
    """A denoiser that reads captions, of random weights nowhere zero."""
    denoiser = pretrain.denoiser(OPTIONS.model_copy(update={"seed": seed}), SHAPE, len(CAPTIONS), CAPTIONS)
    rng = torch.Generator().manual_seed(seed)
    for parameter in denoiser.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng)
    return denoiser.eval()


def teacher(folder, seed=0, other_text=False):
    """The same with its captions in a table; other_text: the same network with another text encoder."""
    denoiser = trained(seed)
    encoder = pretrain.encoder(denoiser if not other_text else trained(seed + 1))
    file = folder / f"{seed}-{other_text}.safetensors"
    encoder.write(file)
    pretrain.look_up(denoiser, PromptTable(file))
    denoiser.prompts = pretrain.one_each(len(CAPTIONS))
    denoiser.sample_shape, denoiser.sample_bound = SHAPE, 1.0
    return denoiser.requires_grad_(False)


def test_a_looked_up_caption_is_the_encoded_one(tmp_path):
    encoded, found = trained(), teacher(tmp_path)
    x, t = noise(0, "x", range(4), SHAPE), torch.full((4,), 0.5)
    for rows in (torch.tensor([0, 1, 2, 3]), torch.tensor([3, 3, 0, 0]), None):
        torch.testing.assert_close(found(x, t, rows), encoded(x, t, rows))


def test_no_caption_is_the_last_row(tmp_path):
    found = teacher(tmp_path)
    x, t = noise(0, "x", range(2), SHAPE), torch.tensor(0.5)
    assert torch.equal(found(x, t), found(x, t, torch.tensor([3, 3])))
    assert not torch.allclose(found(x, t), found(x, t, torch.tensor([0, 1])))


def test_the_order_of_words_is_part_of_what_is_read():
    torch.manual_seed(0)
    one, other = TextEncoder(16)(tokens(CAPTIONS[:2]))
    assert (one - other).abs().max() > 0.05


def test_captions_that_cannot_be_read_are_refused_in_one_line():
    with pytest.raises(ValueError, match="has 9 words, and the text encoder reads 8"):
        tokens(["a b c d e f g h i"])
    # 1 + crc32 mod 127 is the same for both.
    with pytest.raises(ValueError, match="cannot tell 'gel' from 'a'"):
        tokens(["a gel"])
    with pytest.raises(ValueError, match="has 9 words"):
        EncodedCaptions(["one two three four five six seven eight nine"], 4)


def test_words_have_numbers_that_do_not_depend_on_other_captions():
    alone, among = tokens(["a two left of a one"]), tokens(CAPTIONS)
    assert torch.equal(alone[0], among[1])
    assert tokens([""]).eq(0).all()


def test_a_teacher_with_captions_holds_no_text_encoder(tmp_path):
    found = teacher(tmp_path)
    assert not [name for name in found.state_dict() if "encoder" in name or "labels" in name]
    copied = copy.deepcopy(found)
    assert pretrain.encoder(copied).table is pretrain.encoder(found).table


def test_guidance_goes_from_the_null_prompt_to_the_caption(tmp_path):
    found = teacher(tmp_path)
    x, t, rows = noise(0, "x", range(3), SHAPE), torch.tensor(0.5), torch.tensor([0, 1, 2])
    null, told = found(x, t), found(x, t, rows)
    torch.testing.assert_close(Guided(found, 2.0)(x, t, rows), null + 2 * (told - null))


def test_sample_i_has_caption_i_mod_n_with_every_seed(tmp_path):
    guided = Guided(teacher(tmp_path), 2.0)
    for seed in (0, 1, 7):
        assert guided.conditions(seed, "label", range(2, 8)).tolist() == [2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_belongs_to_one_text_encoder(name, tmp_path):
    """Saved, it holds no text, samples the same when loaded, and refuses the same network with other words."""
    spec, own = method(name), Guided(teacher(tmp_path), 2.0)
    options, nfe = spec.options(), 4 if name == "bespoke" else 1
    made = spec.load()(own, options, seed=0, **({"nfe": nfe} if spec.per_nfe else {}))
    file = tmp_path / "student.safetensors"
    saved.save(made, name, options, file, nfe if spec.per_nfe else None)
    start, rows = noise(0, "start", range(2), SHAPE), torch.tensor([0, 2])
    loaded = saved.load(file, Guided(teacher(tmp_path), 2.0))
    draws = lambda j: noise(0, f"draw-{j}", range(2), SHAPE)  # noqa: E731
    with torch.no_grad():
        torch.testing.assert_close(loaded.sample(start, nfe, rows, draws), made.sample(start, nfe, rows, draws))
    with pytest.raises(saved.MismatchError, match="fitted to teacher"):
        saved.load(file, Guided(teacher(tmp_path, other_text=True), 2.0))


def test_another_text_encoder_changes_samples_and_the_fingerprint_alone_says_so(tmp_path):
    own, other = teacher(tmp_path), teacher(tmp_path, other_text=True)
    assert own.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(own.state_dict().values(), other.state_dict().values(), strict=True))
    assert saved.fingerprint(own) != saved.fingerprint(other)
    assert saved.fingerprint(own) == saved.fingerprint(teacher(tmp_path))
    start, rows = noise(0, "start", range(2), SHAPE), torch.tensor([0, 2])
    drawn = [solvers.get("euler").sample(each, start, nfe=2, condition=rows) for each in (own, other)]
    assert not torch.allclose(*drawn, atol=1e-3)
