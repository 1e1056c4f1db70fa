"""Tiny random text-to-image pipelines, saved as diffusers publishes them. Needs diffusers and transformers."""

import json
import sys as sys

import pytest
from safetensors.torch import load_file as load_file
from safetensors.torch import save_file as save_file

from fewstep.methods.teachers.pipelines import building, miniature
from fewstep.methods.teachers.pipelines.miniature import SIDE as SIDE
from fewstep.methods.teachers.pipelines.miniature import pixart_network as pixart_network
from fewstep.methods.teachers.pipelines.miniature import sd as sd
from fewstep.methods.teachers.pipelines.miniature import sdxl as sdxl
from fewstep.methods.teachers.pipelines.miniature import unet as unet
from fewstep.methods.teachers.pipelines.miniature import vae as vae

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'fewstep[diffusers]'")
transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: pip install 'fewstep[captions]'"
)

PROMPTS = ["a photo of a cat", "Two Dogs, on a bench", "", "a cat"]


def changed(file, **entries):
    """A configuration with other entries."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def pixart(folder, cls=None, **options):
    pytest.importorskip("sentencepiece", reason="T5's tokenizer needs sentencepiece")
    return miniature.pixart(folder, cls, **options)


def built(pipeline):
    """Its network, without a table of prompts."""
    return building.build(*pipeline.checkpoint())
