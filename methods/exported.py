"""A student as a file that stands alone: its weights, and in the header what its network and its sampler are.

The header is that of `saved`, with `network`: the configuration of the teacher whose network the student copied, and
the names and shapes of that teacher's tensors. Of these tensors the vectors are kept, as constants are among them; the
rest is not: the student has its own.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from . import registry, weights_file
from .denoiser import Denoiser
from .method import Method
from .saved import KEPT, read_facts, weights
from .specs.teachers.checkpoint import CheckpointOptions
from .teachers import checkpoint
from .teachers.forms.base import Checkpoint


def write(saved: Path, network: Checkpoint, ends: tuple[float, float], shape: tuple[int, ...], file: Path) -> None:
    """Write the saved student of a file as one that stands alone.

    network: its teacher's, between the noise levels `ends`. shape: of one sample.
    """
    tensors = {name: list(tensor.shape) for name, tensor in network.state.items()}
    facts = {"config": network.config, "tensors": tensors, "ends": list(ends), "shape": list(shape)}
    kept = {KEPT + name: tensor for name, tensor in network.state.items() if tensor.ndim < 2}
    header = {**read_facts(saved), "network": json.dumps(facts)}
    weights_file.save({**load_file(saved), **kept}, file, header)


def load(file: Path, classes: int) -> tuple[Denoiser, Method, int]:
    """(a network like the student's, the method that samples from the student, how many labels the network knows).

    classes: of the data set. CheckpointError or ValueError where the file is no such student.
    """
    facts = read_facts(file)
    about: dict[str, Any] = json.loads(facts["network"])
    held: dict[str, Tensor] = load_file(file)
    state = {name: held.get(KEPT + name, torch.zeros(0)) for name in about["tensors"]}
    for name, shape in about["tensors"].items():
        if list(state[name].shape) != shape:
            state[name] = torch.zeros(shape)
    smallest, largest = about["ends"]
    options = CheckpointOptions(file=str(file), sigma_min=smallest, sigma_max=largest)
    made = Checkpoint(about["config"], state)
    base = checkpoint.network(made, options, tuple(about["shape"]), classes)
    base.sample_shape = tuple(about["shape"])
    spec = registry.method(facts["method"])
    nfe = {"nfe": int(facts["nfe"])} if facts["nfe"] else {}
    chosen = spec.options.model_validate_json(facts["options"])
    method: Method = spec.load()(base, chosen, seed=int(facts["seed"]), **nfe)
    method.result().load_state_dict(weights(file))
    return base, method.requires_grad_(False).eval(), made.classes
