"""A few samples of what is being trained, for its record: they are no part of its budget, its random numbers or its
result.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...methods import registry, solvers
from ...methods.denoiser import Condition
from ...methods.method import Method, Trainable
from ...methods.options import Options
from ...methods.randomness import noise, seeded
from ...methods.teachers.pretrain import Pretrain
from ..training.tracking import Preview

PART_OF_RESULTS = False

COUNT = 4
STUDENT_NFE = (4, 2, 1, 3, 5, 6, 8, 7, 9, 10)
"""In the order of preference: the first that the method can sample with."""
TEACHER_NFE = 10


def of_method(method: Method, name: str, options: Options, nfe: int | None) -> Preview | None:
    """Samples of a student, at the NFE that it is trained for or a usual one, decoded where they are latents; None for
    what is no image.
    """
    spec, shape, codec = registry.method(name), method.teacher.sample_shape, method.teacher.codec
    reachable = (n for n in STUDENT_NFE if spec.refusal(n, options) is None)
    chosen = next(reachable, None) if nfe is None else nfe
    if chosen is None or shape is None or len(shape) != 3 or (codec is None and shape[0] not in (1, 3)):
        return None

    def sample(start: Tensor) -> Tensor:
        labels = method.teacher.conditions(0, "preview-label", range(COUNT))

        def draws(j: int) -> Tensor:
            return noise(0, f"preview-draw-{j}", range(COUNT), shape).to(start)

        x0 = method.sample(start, chosen, None if labels is None else labels.to(start.device), draws)
        return x0 if codec is None else torch.cat([codec.decode(latent[None]) for latent in x0])

    return lambda: _pixels(method, sample, shape)


def of_teacher(module: Pretrain, shape: tuple[int, ...]) -> Preview | None:
    """Samples of a teacher's averaged network; None for what is no image."""
    if len(shape) != 3:
        return None

    def sample(start: Tensor) -> Tensor:
        labels: Condition = None
        if module.options.label_dropout is not None:
            labels = torch.arange(COUNT, device=start.device) % module.classes
        average: Any = module.result()
        return solvers.get("dpmpp-2m").sample(average, start, nfe=TEACHER_NFE, condition=labels)

    return lambda: _pixels(module, sample, shape)


def _pixels(module: Trainable, sample: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> np.ndarray:
    """uint8 (COUNT, C, H, W) from the same noises each time."""
    with _untouched(module), torch.no_grad():
        x0 = sample(noise(0, "preview", range(COUNT), shape).to(module.device))
    return (x0.float() * 127.5 + 128).clamp(0, 255).byte().cpu().numpy()


@contextmanager
def _untouched(module: Trainable) -> Iterator[None]:
    """Inside, the module is in eval mode; what training reads is afterwards as it was."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        with seeded(0, module.device):
            module.eval()
            yield
    finally:
        for part, mode in modes:
            part.training = mode
