"""Prompts through a pipeline's text encoders, once: the table that networks look their rows up in."""

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from torch.utils.flop_counter import FlopCounterMode

from ...datasets.captions import captions
from ...datasets.registry import ArchiveError
from ...methods.prompts import Encoded, Prompts, PromptTable, write
from ...methods.teachers.edm_pickle import CheckpointError
from ...methods.teachers.pipelines import facts, pipeline
from .. import published_files
from ..errors import TaskError
from ..plan.kinds import PromptsParams, PromptsResult
from ..store import Artifact
from .context import Context
from .device import accelerator

TABLE = "prompts.safetensors"


def run(task: Context[PromptsParams]) -> PromptsResult:
    params = task.params
    encoding = facts.Encoding(**params.encoding)
    try:
        scored = captions(params.dataset, content=params.content)
        found = pipeline.read(Path(params.folder))
        if found.identity(encoding) != params.encoders:
            raise TaskError(f"{params.folder} has changed since this run was planned; run it again")
        training = _lines(params)
        every = [*scored, *training]
        count, start = len(every) + 1, time.perf_counter()
        parts = iter(found.encode(every, encoding, accelerator(params.device)))
        with FlopCounterMode(display=False) as counter:
            first = next(parts)
        flops = counter.get_total_flops() / _size(first)
        table = write(task.folder / TABLE, _watched(chain([first], parts), count, task), count, params.encoders)
    except (ArchiveError, CheckpointError) as error:
        raise TaskError(str(error)) from None
    assert len(table) == count
    seconds = (time.perf_counter() - start) / count
    return PromptsResult(
        prompts=len(scored), training=len(training), seconds_per_prompt=seconds, flops_per_prompt=flops
    )


def _lines(params: PromptsParams) -> list[str]:
    """The prompts to train on, one in each line; empty lines are left out."""
    if params.training is None:
        return []
    file = Path(params.training)
    if not file.is_file() or published_files.sha256(file) != params.training_sha256:
        raise TaskError(f"{file} has changed since this run was planned; run it again")
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _size(part: Encoded) -> int:
    found = part.pooled if part.tokens is None else part.tokens
    assert found is not None
    return len(found)


def _watched(parts: Iterable[Encoded], count: int, task: Context[PromptsParams]) -> Iterator[Encoded]:
    done = 0
    for part in parts:
        yield part
        done += _size(part)
        task.on_progress(done / count)


def load(artifact: Artifact) -> tuple[PromptTable, Prompts]:
    """The table, and which of its rows samples are drawn with: the data set's captions, and those to train on, which
    are the same where there are no others.
    """
    result, table = artifact.answer(PromptsResult), PromptTable(artifact.file(TABLE))
    scored = range(result.prompts)
    training = range(result.prompts, result.prompts + result.training) if result.training else scored
    return table, Prompts(scored, training, table.null)
