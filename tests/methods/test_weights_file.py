"""Weights with facts in the header."""

import itertools

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fewstep.methods import weights_file

WEIGHTS = {"b.weight": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(3), "empty": torch.zeros(0, 2)}


def test_the_same_content_is_the_same_bytes_in_any_order_of_facts(tmp_path):
    facts = {"one": "1", "two": "2", "three": "3", "four": "ü"}
    for i, order in enumerate(itertools.permutations(facts)):
        weights_file.save(WEIGHTS, tmp_path / str(i), {name: facts[name] for name in order})
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("facts", [{}, {"path": "EDM"}, {"a": "x" * 13, "b": '"quoted"'}])
def test_safetensors_reads_back_weights_and_facts(tmp_path, facts):
    file = tmp_path / "w.safetensors"
    weights_file.save(WEIGHTS, file, facts)
    read = load_file(file)
    assert set(read) == set(WEIGHTS)
    assert all(torch.equal(read[name], WEIGHTS[name]) and read[name].dtype == WEIGHTS[name].dtype for name in WEIGHTS)
    with safe_open(file, "pt") as opened:
        assert (opened.metadata() or {}) == facts


def test_a_view_is_saved_as_what_it_shows(tmp_path):
    view = torch.arange(12.0).reshape(3, 4).T
    weights_file.save({"x": view}, tmp_path / "w", {})
    assert torch.equal(load_file(tmp_path / "w")["x"], view)
