"""ImageReward on a small random file with the published names, against its formula written out."""

import json
import math
from dataclasses import dataclass

import pytest
import torch
from PIL import Image
from torch.nn import functional

from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.bench.metrics.extractors import stand_ins as made_up
from fewstep.tests.bench.stand_ins import images

pytest.importorskip("transformers", reason="transformers is not installed: pip install 'fewstep[text]'")

CAPTIONS = ["a photo of two cats", "the dog", "two dogs, on a bench " * 12]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of the three files."""
    folder = tmp_path_factory.mktemp("weights") / "ImageReward"
    folder.mkdir()
    made_up.imagereward(folder / "ImageReward.pt", folder / "med_config.json", folder / "vocab.txt")
    return folder


@pytest.fixture
def here(saved, monkeypatch):
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(saved.parent))
    return EXTRACTORS["image-reward"]


@dataclass
class Written:
    """The formula of BLIP's image-grounded text encoder and the head, by the names of the file."""

    state: dict
    heads: int

    def linear(self, name, x):
        return functional.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])

    def norm(self, name, x, eps):
        return functional.layer_norm(x, x.shape[-1:], self.state[f"{name}.weight"], self.state[f"{name}.bias"], eps)

    def attend(self, q, k, v, heads, mask=None):
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None].bool(), -1e30)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    def seen(self, pixels):
        name = "blip.visual_encoder"
        weight, bias = (self.state[f"{name}.patch_embed.proj.{part}"] for part in ("weight", "bias"))
        x = functional.conv2d(pixels, weight, bias, stride=weight.shape[-1]).flatten(2).transpose(1, 2)
        x = torch.cat([self.state[f"{name}.cls_token"].expand(len(x), -1, -1), x], 1) + self.state[f"{name}.pos_embed"]
        for k in range(made_up.LAYERS):
            block = f"{name}.blocks.{k}"
            q, k, v = self.linear(f"{block}.attn.qkv", self.norm(f"{block}.norm1", x, 1e-6)).chunk(3, -1)
            x = x + self.linear(f"{block}.attn.proj", self.attend(q, k, v, x.shape[-1] // 64))
            h = functional.gelu(self.linear(f"{block}.mlp.fc1", self.norm(f"{block}.norm2", x, 1e-6)))
            x = x + self.linear(f"{block}.mlp.fc2", h)
        return self.norm(f"{name}.norm", x, 1e-6)

    def reward(self, pixels, ids, mask):
        seen, name = self.seen(pixels), "blip.text_encoder"
        word, position = (self.state[f"{name}.embeddings.{kind}_embeddings.weight"] for kind in ("word", "position"))
        x = self.norm(f"{name}.embeddings.LayerNorm", word[ids] + position[: ids.shape[1]], 1e-12)
        for k in range(made_up.LAYERS):
            for part, source, shown in (("attention", None, mask), ("crossattention", seen, None)):
                block = f"{name}.encoder.layer.{k}.{part}"
                keys = x if source is None else source
                q, k_, v = (
                    self.linear(f"{block}.self.{kind}", given)
                    for kind, given in (("query", x), ("key", keys), ("value", keys))
                )
                h = self.linear(f"{block}.output.dense", self.attend(q, k_, v, self.heads, shown))
                x = self.norm(f"{block}.output.LayerNorm", h + x, 1e-12)
            block = f"{name}.encoder.layer.{k}"
            h = functional.gelu(self.linear(f"{block}.intermediate.dense", x))
            x = self.norm(f"{block}.output.LayerNorm", self.linear(f"{block}.output.dense", h) + x, 1e-12)
        x = x[:, 0]
        for layer in (0, 2, 4, 6, 7):
            x = self.linear(f"mlp.layers.{layer}", x)
        return (x[:, 0] - 0.16717362830052426) / 1.0333394966054072


def tokenised(folder, captions):
    """(ids, mask) by the tokenizers library's own WordPiece, lower case, 35 tokens."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=True)
    made.enable_truncation(35)
    made.enable_padding(length=35)
    found = made.encode_batch(captions)
    return torch.tensor([one.ids for one in found]), torch.tensor([one.attention_mask for one in found])


def resized(x, side):
    pictures = [Image.fromarray(image).resize((side, side), Image.BICUBIC) for image in x.permute(0, 2, 3, 1).numpy()]
    pixels = torch.stack([torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8) for p in pictures])
    pixels = pixels.view(len(x), side, side, 3).permute(0, 3, 1, 2) / 255
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def test_the_score_is_the_formula_of_the_authors_code(here, saved):
    loaded, x = here.load(), images(3, 50)
    state = torch.load(saved / "ImageReward.pt", weights_only=True)
    heads = json.loads((saved / "med_config.json").read_text())["num_attention_heads"]
    ids, mask = tokenised(saved, CAPTIONS)
    assert mask.sum(1).tolist()[-1] == 35 > mask.sum(1).tolist()[0]
    written = Written(state, heads).reward(resized(x, loaded.side), ids, mask)
    scores = loaded.score(x, CAPTIONS)
    torch.testing.assert_close(scores, written, rtol=0, atol=2e-5)
    assert scores.std() > 1e-2
    assert (loaded.score(x, [*CAPTIONS[1:], CAPTIONS[0]]) - scores).abs().max() > 1e-3


def test_an_images_score_does_not_depend_on_those_beside_it(here):
    loaded, x = here.load(), images(3, 40)
    alone = torch.cat([loaded.score(x[i : i + 1], CAPTIONS[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loaded.score(x, CAPTIONS), alone, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="3 images have 2 captions"):
        loaded.score(x, CAPTIONS[:2])


@pytest.mark.parametrize("lost", ["blip.visual_encoder.patch_embed.proj.weight", "mlp.layers.7.bias"])
def test_another_networks_file_is_refused(here, saved, tmp_path, monkeypatch, lost):
    folder = tmp_path / "ImageReward"
    folder.mkdir()
    for name in ("med_config.json", "vocab.txt"):
        (folder / name).write_bytes((saved / name).read_bytes())
    state = torch.load(saved / "ImageReward.pt", weights_only=True)
    torch.save({name: tensor for name, tensor in state.items() if name != lost}, folder / "ImageReward.pt")
    monkeypatch.setenv("FEWSTEP_WEIGHTS", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"bias|ImageReward's file"):
        here.load()
