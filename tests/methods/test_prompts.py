"""Prompts as conditions: rows of a table on disk, which caption a sample is drawn from, what a denoiser is told."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fewstep.methods.denoiser import Guided, from_function
from fewstep.methods.paths import EDM
from fewstep.methods.prompts import Encoded, Prompts, PromptTable, write


def encoded(count=5, length=7, width=4, seed=0):
    """Tokens of which each prompt has its own number, as a tokenizer pads them at the end."""
    g = torch.Generator().manual_seed(seed)
    counts = torch.tensor([1 + k % length for k in range(count)])
    mask = torch.arange(length) < counts[:, None]
    return Encoded(torch.randn(count, length, width, generator=g), mask, torch.randn(count, 3, generator=g))


def parts(whole, size=2):
    for first in range(0, len(whole.pooled), size):
        rows = slice(first, first + size)
        yield Encoded(whole.tokens[rows], whole.mask[rows], whole.pooled[rows])


def test_a_table_gives_back_what_was_encoded(tmp_path):
    whole = encoded()
    table = write(tmp_path / "prompts.safetensors", parts(whole), 5, "encoder@1")
    rows = torch.tensor([4, 0, 4, 2])
    found = table.at(rows)
    assert torch.equal(found.tokens, (whole.tokens * whole.mask[..., None])[rows])
    assert torch.equal(found.mask, whole.mask[rows])
    assert torch.equal(found.pooled, whole.pooled[rows])
    assert (len(table), table.null, table.identity) == (5, 4, "encoder@1")
    assert [file.name for file in tmp_path.iterdir()] == ["prompts.safetensors"]


def test_only_tokens_that_count_are_in_the_file(tmp_path):
    whole = encoded(count=40, length=100, width=64)
    file = tmp_path / "prompts.safetensors"
    write(file, [whole], 40, "")
    kept = 4 * (64 * int(whole.mask.sum()) + 3 * 40)
    assert kept < file.stat().st_size < kept + 2000 < 4 * whole.tokens.numel()


def test_without_a_mask_every_token_is_kept_in_the_dtype_of_the_encoder(tmp_path):
    tokens = encoded().tokens.half()
    table = write(tmp_path / "prompts.safetensors", [Encoded(tokens)], 5, "")
    found = PromptTable(table.file).at(torch.tensor([3]))
    assert (found.mask, found.pooled) == (None, None)
    assert torch.equal(found.tokens, tokens[[3]])


def test_copies_of_a_table_share_its_file(tmp_path):
    table = write(tmp_path / "prompts.safetensors", [encoded()], 5, "")
    assert copy.deepcopy({"table": table})["table"] is table


def test_a_row_that_is_not_there_and_a_missing_prompt_are_errors(tmp_path):
    table = write(tmp_path / "prompts.safetensors", [encoded()], 5, "")
    with pytest.raises(IndexError, match="rows 2 to 5 of 5 prompts"):
        table.at(torch.tensor([2, 5]))
    with pytest.raises(ValueError, match=r"\[5\] prompts were encoded, not 6"):
        write(tmp_path / "other.safetensors", [encoded()], 6, "")


PROMPTS = Prompts(evaluation=range(10, 13), training=range(4, 10), null=13)


def test_sample_i_has_prompt_i_mod_n_whatever_the_seed():
    for seed in (0, 7):
        assert PROMPTS.drawn(seed, "label", range(1, 6)).tolist() == [11, 12, 10, 11, 12]


def test_training_prompts_are_drawn_uniformly_and_never_from_the_scored_ones():
    rows = PROMPTS.drawn(0, "label-train", range(6000))
    counts = torch.bincount(rows, minlength=14)
    assert counts[:4].sum() + counts[10:].sum() == 0
    # Five standard deviations of a binomial of 6000 draws at 1/6.
    assert (counts[4:10] - 1000).abs().max() < 5 * (6000 * 5 / 36) ** 0.5
    assert torch.equal(PROMPTS.drawn(0, "label-train", range(40, 50)), rows[40:50])
    assert not torch.equal(PROMPTS.drawn(1, "label-train", range(100)), rows[:100])


def test_a_denoiser_with_prompts_draws_them_through_every_wrapper():
    inner = from_function(lambda x, t: x, EDM())
    inner.prompts = PROMPTS
    guided = Guided(inner, 2.0, null=PROMPTS.null)
    assert guided.conditional
    assert not from_function(lambda x, t: x, EDM()).conditional
    assert guided.conditions(3, "label", range(4)).tolist() == [10, 11, 12, 10]


WRITE_AND_READ = """
import sys
from pathlib import Path
import torch
from fewstep.methods.prompts import Encoded, PromptTable, write

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024

file, before, most = Path(sys.argv[1]), anonymous(), 0.0
part = Encoded(torch.randn(500, 8, 512, dtype=torch.float16))

def parts():
    global most
    for _ in range(60):
        yield part
        most = max(most, anonymous())

table = write(file, parts(), 30_000, "")
for step in range(200):
    rows = table.at(torch.randint(30_000, (64,), generator=torch.Generator().manual_seed(step)))
    most = max(most, anonymous())
print(file.stat().st_size / 2**20, most - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read off Linux's /proc")
def test_a_table_of_thirty_thousand_captions_is_never_in_memory_as_a_whole(tmp_path):
    """Neither while it is written nor while rows are drawn from it: 240 MB on disk."""
    command = [sys.executable, "-c", WRITE_AND_READ, str(tmp_path / "prompts.safetensors")]
    size, most = map(float, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    assert size > 230
    assert most < 40
