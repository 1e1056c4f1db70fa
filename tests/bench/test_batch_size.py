"""Batches that do not fit into a device's memory are halved, and nothing else changes."""

import logging

import pytest
import torch

from fewstep.bench.metrics import batch_size, scoring
from fewstep.bench.metrics.extractors import EXTRACTORS
from fewstep.bench.metrics.extractors.network import FeatureNetwork
from fewstep.bench.metrics.register import METRICS
from fewstep.bench.plan.cells import make_plan
from fewstep.bench.plan.kinds import Sampled
from fewstep.bench.run import worker
from fewstep.bench.stages import sample, truth
from fewstep.bench.store import Store
from fewstep.bench.suite.loading import load
from fewstep.methods.method import Method
from fewstep.tests.bench.in_process import write_suite


@pytest.fixture(autouse=True)
def forgotten():
    batch_size._most.clear()
    yield
    batch_size._most.clear()


FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


class Memory:
    """What a device does that holds `most` samples."""

    def __init__(self, most, error=FULL):
        self.most, self.asked, self.error = most, [], error

    def take(self, count):
        self.asked.append(count)
        if count > self.most:
            raise self.error


def test_a_batch_is_halved_until_it_fits_and_stays_so_for_the_next_task_of_its_kind(caplog):
    memory = Memory(9)

    def make(rows):
        memory.take(len(rows))
        return list(rows)

    with caplog.at_level(logging.WARNING):
        parts = [part for _, part in batch_size.batched("samples", range(5, 45), 32, make)]
    assert [row for part in parts for row in part] == list(range(5, 45))
    assert memory.asked == [32, 16, 8, 8, 8, 8, 8]
    assert [record.getMessage() for record in caplog.records] == [
        "32 samples at a time do not fit into the device's memory: from now on 16",
        "16 samples at a time do not fit into the device's memory: from now on 8",
    ]
    memory.asked.clear()
    list(batch_size.batched("samples", range(16), 32, make))
    assert memory.asked == [8, 8]
    memory.asked.clear()
    with pytest.raises(torch.OutOfMemoryError):
        list(batch_size.batched("features", range(3), 2, lambda rows: Memory(0).take(len(rows))))


@pytest.mark.parametrize("text", batch_size.TEXTS)
def test_what_libraries_of_cuda_say_is_understood(text):
    memory = Memory(2, RuntimeError(f"{text} when calling `cublasCreate(handle)`"))
    parts = batch_size.batched("samples", range(4), 4, lambda rows: memory.take(len(rows)))
    assert [rows for rows, _ in parts] == [range(0, 2), range(2, 4)]


def test_other_errors_are_not_taken_for_full_memory():
    def make(rows):
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match="another"):
        list(batch_size.batched("samples", range(8), 4, make))


def files(folder, monkeypatch, memory):
    """(answers, sample and truth files) of a small suite on a device with so much memory."""
    plan, store = make_plan(load(str(write_suite(folder)))), Store(folder / "store")
    store.prepare()
    real = Method.predict_step

    def predict(self, batch, index):
        # After the evaluations, which the batch that follows must not count again.
        made = real(self, batch, index)
        memory.take(len(made))
        return made

    with monkeypatch.context() as patch:
        patch.setattr(Method, "predict_step", predict)
        for task in plan.tasks():
            assert worker.execute(task.to_json(), store) == ("done", None)
    (cell,) = plan.cells
    made = [store.need(cell.score.inputs[role].name) for role in ("sample", "truth")]
    answer = made[0].answer(Sampled).model_copy(update={"seconds_per_image": 0.0})
    return answer, [artifact.manifest["files"] for artifact in made]


def test_samples_and_what_they_cost_are_the_same_on_a_smaller_device(tmp_path, monkeypatch):
    folders = [tmp_path / name for name in ("large", "small")]
    for folder in folders:
        folder.mkdir()
    small = Memory(3)
    assert files(folders[1], monkeypatch, small) == files(folders[0], monkeypatch, Memory(1000))
    assert small.asked == [12, 6, 3, 3, 3, 3]


def test_joined_batches_are_the_same_on_a_smaller_device():
    memory = Memory(4)

    def make(rows):
        memory.take(len(rows))
        return sample.start_noise(0, rows, (2,))

    assert torch.equal(sample.batches(21, make, lambda share: None), sample.start_noise(0, range(21), (2,)))
    assert truth.SAMPLES


class Pixels(FeatureNetwork):
    """Two features: mean and largest value."""

    def __init__(self, memory):
        super().__init__()
        self.memory, self.scale = memory, torch.nn.Parameter(torch.ones(()))

    def features(self, images):
        self.memory.take(len(images))
        flat = images.float().flatten(1) * self.scale
        return {"cls": torch.stack([flat.mean(1), flat.amax(1)], 1)}


def readers(monkeypatch, memory, images, metrics):
    class Cheap:
        def load(self, device):
            return Pixels(memory).requires_grad_(False)

    monkeypatch.setitem(EXTRACTORS, "dinov2-vitl14", Cheap())
    reader = scoring.FeatureReader("dinov2-vitl14", metrics, len(images), "cpu")
    scoring.stream(scoring.Images8(images.__getitem__, len(images), "round"), [reader], lambda share: None)
    return reader.features["cls"]


def test_features_are_the_same_on_a_smaller_device(monkeypatch):
    images = torch.randint(256, (70, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    memory = Memory(20)
    few = readers(monkeypatch, memory, images, ["fd_dinov2"])
    assert memory.asked == [64, 32, 16, 16, 16, 16, 6]
    batch_size._most.clear()
    assert torch.equal(few, readers(monkeypatch, Memory(1000), images, ["fd_dinov2"]))
    rows = [found["cls"] for _, found in scoring.extract(Pixels(Memory(5)), images.__getitem__, 70, ["cls"])]
    assert torch.equal(torch.cat(rows), few)


def test_moments_take_the_place_of_features_where_they_are_smaller_and_no_metric_needs_rows(monkeypatch):
    images = torch.randint(256, (500, 3, 4, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    moments = readers(monkeypatch, Memory(1000), images, ["fd_dinov2"])
    rows = readers(monkeypatch, Memory(1000), images, ["fd_dinov2", "aesthetic_rows"])
    assert torch.is_tensor(rows)
    assert not torch.is_tensor(moments)
    assert len(moments) == len(rows) == 500
    reference = scoring.Reference("r", {"cls": (torch.tensor([120.0, 250.0]).double(), torch.eye(2).double())})
    found = [
        scoring.measured(["fd_dinov2"], {"cls": fake}, lambda name: reference, "s")["fd_dinov2"]
        for fake in (moments, rows)
    ]
    assert found[0].protocol == found[1].protocol
    assert found[0].value == pytest.approx(found[1].value, rel=1e-9)
    assert found[0].without == pytest.approx(found[1].without, rel=1e-9)


@pytest.fixture(autouse=True)
def metric_of_rows(monkeypatch):
    from dataclasses import replace

    rows = replace(METRICS["fd_dinov2"], name="aesthetic_rows", of_moments=False)
    monkeypatch.setitem(METRICS.entries, "aesthetic_rows", rows)
